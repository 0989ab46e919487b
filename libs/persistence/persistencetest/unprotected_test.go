package persistencetest

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// message is one of the server's.
func message(kind byte, body ...byte) []byte {
	return append([]byte{kind, 0, 0, 0, byte(4 + len(body))}, body...)
}

func TestWireKnowsWhatIsUnanswered(t *testing.T) {
	t.Parallel()
	startup := []byte{0, 0, 0, 9, 0, 3, 0, 0, 0}
	key := message(messageKey, 0, 0, 1, 2, 9, 8, 7, 6)
	for _, size := range []int{1, 3, 1000} { // of the pieces in which answers arrive
		var w wire
		receive := func(messages ...[]byte) {
			for _, m := range messages {
				for len(m) > 0 {
					n := min(size, len(m))
					w.received(m[:n])
					m = m[n:]
				}
			}
		}
		require.False(t, w.unanswered())
		w.sent([]byte{0, 0, 0, 8, 4, 210, 22, 47}) // asks for TLS
		require.False(t, w.unanswered())
		receive([]byte{'N'})
		w.sent(startup)
		require.True(t, w.unanswered())
		receive(message('R', 0, 0, 0, 0), key)
		require.True(t, w.unanswered())
		require.Equal(t, []byte{0, 0, 1, 2, 9, 8, 7, 6}, w.key())
		receive(message(messageReady, 'I'))
		require.False(t, w.unanswered())

		w.sent([]byte("Qwhatever"))
		receive(message('D', []byte("ZZZZZ")...), message('C'))
		require.True(t, w.unanswered(), "an answer ends with the server being ready")
		receive(message(messageReady, 'I'))
		require.False(t, w.unanswered())
		w.sent([]byte{messageEnd, 0, 0, 0, 4})
		require.False(t, w.unanswered(), "a farewell has no answer")
		require.Equal(t, []byte{0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 1, 2, 9, 8, 7, 6}, cancelRequest(w.key()))
	}
}

// TestCancelling: a connection that is given up in the middle of an answer is canceled by another one, once; one that is
// closed in order is not.
func TestCancelling(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	for name, giveUp := range map[string]func(net.Conn){
		"closed":      func(c net.Conn) { _ = c.Close() },
		"interrupted": func(c net.Conn) { _ = c.SetDeadline(time.Unix(1, 0)) },
		"expired": func(c net.Conn) {
			_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, _ = c.Read(make([]byte, 1))
		},
	} {
		sent := 0
		dial := Cancelling((&net.Dialer{}).DialContext, func() { sent++ })
		conn, err := dial(t.Context(), "tcp", listener.Addr().String())
		require.NoError(t, err)
		server, err := listener.Accept()
		require.NoError(t, err)
		_, err = server.Write(append(message(messageKey, 0, 0, 0, 1, 0, 0, 0, 2), message(messageReady, 'I')...))
		require.NoError(t, err)
		_, err = io.ReadFull(conn, make([]byte, 13+6))
		require.NoError(t, err)
		_, err = conn.Write([]byte("Qwhatever"))
		require.NoError(t, err)

		request := make(chan []byte, 1)
		go func() {
			other, err := listener.Accept()
			if err != nil {
				close(request)
				return
			}
			got := make([]byte, 16)
			_, _ = io.ReadFull(other, got)
			_ = other.Close()
			request <- got
		}()
		giveUp(conn)
		_ = conn.Close()
		require.Equal(t, cancelRequest([]byte{0, 0, 0, 1, 0, 0, 0, 2}), <-request, name)
		require.Equal(t, 1, sent, name)
		require.NoError(t, server.Close())
	}

	sent := 0
	conn, err := Cancelling((&net.Dialer{}).DialContext, func() { sent++ })(context.Background(), "tcp", listener.Addr().String())
	require.NoError(t, err)
	_, err = conn.Write([]byte{messageEnd, 0, 0, 0, 4})
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.Zero(t, sent)
}
