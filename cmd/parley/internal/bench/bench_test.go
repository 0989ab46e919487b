package bench

import (
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadParsesFramesOfEveryLengthAcrossReads(t *testing.T) {
	t.Parallel()
	sizes := []int{0, 1, 125, 126, 65535, 65536, 100_000}
	var stream []byte
	for _, size := range sizes {
		stream = append(stream, serverFrame(size)...)
	}
	client, server := net.Pipe()
	go func() {
		for len(stream) > 0 { // odd pieces, so that headers are split
			n := min(7001, len(stream))
			_, _ = server.Write(stream[:n])
			stream = stream[n:]
		}
		_ = server.Close()
	}()
	w := &wire{conn: client, buf: make([]byte, 64)}
	var got []int
	err := w.read(func(payload []byte) error {
		got = append(got, len(payload))
		return nil
	})
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, sizes, got)
}

func TestReadReportsTheCloseCode(t *testing.T) {
	t.Parallel()
	client, server := net.Pipe()
	go func() { _, _ = server.Write([]byte{0x88, 6, 0x0f, 0xa1, 'S', 'L', 'O', 'W'}) }()
	w := &wire{conn: client, buf: make([]byte, 64)}
	err := w.read(func([]byte) error { return nil })
	var closed *serverClosedError
	require.ErrorAs(t, err, &closed)
	require.Equal(t, uint16(4001), closed.code)
	require.Equal(t, "SLOW", closed.reason)
}

func TestUintFieldIgnoresTheContent(t *testing.T) {
	t.Parallel()
	frame := []byte(`{"message":{"content":"\"seq\":\"7\" ","message_id":"12","seq":"42","prev_seq":"41"}}`)
	seq, err := uintField(frame, `"seq"`)
	require.NoError(t, err)
	require.Equal(t, uint64(42), seq)
	previous, err := uintField(frame, `"prev_seq"`)
	require.NoError(t, err)
	require.Equal(t, uint64(41), previous)
	_, err = uintField(frame, `"absent"`)
	require.ErrorIs(t, err, errNoField)
}

func TestScenarioListsEveryProblem(t *testing.T) {
	t.Parallel()
	err := Scenario{}.Validate()
	for _, part := range []string{"room", "publisher", "window", "payload", "duration"} {
		require.ErrorContains(t, err, part)
	}
}

func serverFrame(size int) []byte {
	frame := []byte{0x81}
	switch {
	case size < 126:
		frame = append(frame, byte(size))
	case size < 1<<16:
		frame = append(frame, 126)
		frame = binary.BigEndian.AppendUint16(frame, uint16(size))
	default:
		frame = append(frame, 127)
		frame = binary.BigEndian.AppendUint64(frame, uint64(size))
	}
	return append(frame, make([]byte, size)...)
}
