package sqlite

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

// Each stream appends one event, waits for it, and appends the next: a closed loop, as rooms do it. Run with
//
//	go test ./sqlite -run '^$' -bench Append -benchtime 200000x
//
// and compare cpu-us/ev first: ev/s depends on what else the machine does. BenchmarkRawAppend is what the same events
// cost without a database: encoded, written with one write and one fdatasync for each group.

const benchPayload = 200

func benchEvent() persistence.Event {
	return persistence.Event{Manifest: "parley.journal.v1.MessagePosted", Codec: persistence.CodecProto, Payload: make([]byte, benchPayload)}
}

var benchStreams = []int{1, 64, 1000}

func BenchmarkAppend(b *testing.B) {
	for _, streams := range benchStreams {
		for _, each := range []int{1, 16} {
			b.Run(fmt.Sprintf("streams=%d/events=%d", streams, each), func(b *testing.B) {
				journal, err := Open(b.Context(), filepath.Join(b.TempDir(), "journal.db"), Options{})
				require.NoError(b, err)
				defer func() { require.NoError(b, journal.Close(context.Background())) }()
				claims := make([]persistence.Claim, streams)
				for i := range claims {
					claims[i], err = journal.Claim(b.Context(), persistence.StreamKey(fmt.Sprintf("room/%d", i)), "node", persistence.ClaimOptions{})
					require.NoError(b, err)
				}
				closedLoop(b, streams, each, func(stream int, head uint64, events []persistence.Event) error {
					_, err := journal.Append(context.Background(), claims[stream], head, events)
					return err
				})
			})
		}
	}
}

func BenchmarkRawAppend(b *testing.B) {
	for _, streams := range benchStreams {
		b.Run(fmt.Sprintf("streams=%d", streams), func(b *testing.B) {
			raw := newRawLog(b)
			defer raw.close()
			closedLoop(b, streams, 1, raw.append)
		})
	}
}

func BenchmarkRead(b *testing.B) {
	journal, err := Open(b.Context(), filepath.Join(b.TempDir(), "journal.db"), Options{})
	require.NoError(b, err)
	defer func() { require.NoError(b, journal.Close(context.Background())) }()
	c, err := journal.Claim(b.Context(), "room/1", "node", persistence.ClaimOptions{})
	require.NoError(b, err)
	events := make([]persistence.Event, 1000)
	for i := range events {
		events[i] = benchEvent()
	}
	for i := range uint64(10) {
		_, err := journal.Append(b.Context(), c, i*1000, events)
		require.NoError(b, err)
	}
	for _, limit := range []int{1, 50, 1000} {
		b.Run(fmt.Sprintf("limit=%d", limit), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := journal.Read(context.Background(), "room/1", 5000, limit); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*limit), "ns/ev")
		})
	}
}

// closedLoop has n goroutines append until b.N events are stored.
func closedLoop(b *testing.B, n, each int, appendTo func(stream int, head uint64, events []persistence.Event) error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var group sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	for stream := range n {
		group.Go(func() {
			events := make([]persistence.Event, each)
			for i := range events {
				events[i] = benchEvent()
			}
			for head := uint64(0); left.Add(-int64(each)) >= 0; head += uint64(each) {
				binary.LittleEndian.PutUint64(events[0].MessageID[:], head)
				if err := appendTo(stream, head, events); err != nil {
					b.Errorf("append: %v", err)
					return
				}
			}
		})
	}
	group.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ev/s")
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/1000/float64(b.N), "cpu-us/ev")
}

func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// rawLog is group commit over a bare file.
type rawLog struct {
	queue *queue
	file  *os.File
	done  chan struct{}
}

func newRawLog(b *testing.B) *rawLog {
	file, err := os.Create(filepath.Join(b.TempDir(), "raw.log"))
	require.NoError(b, err)
	l := &rawLog{queue: newQueue(), file: file, done: make(chan struct{})}
	go l.run(b)
	return l
}

func (l *rawLog) append(stream int, head uint64, events []persistence.Event) error {
	m := &appendMutation{claim: persistence.Claim{StreamID: int64(stream + 1)}, expected: head, events: events}
	m.request = request{mutation: m, key: writerKey{stream: int64(stream + 1)}, events: len(events), bytes: benchPayload}
	m.request.Expect()
	if err := l.queue.put(&m.request); err != nil {
		return err
	}
	<-m.request.Done()
	return nil
}

func (l *rawLog) run(b *testing.B) {
	defer close(l.done)
	var out []byte
	for {
		group := &batch{}
		if !l.queue.take(group, true) {
			return
		}
		out = out[:0]
		for _, r := range group.requests {
			m := r.mutation.(*appendMutation)
			for i, e := range m.events {
				out = binary.AppendVarint(out, m.claim.StreamID)
				out = binary.AppendUvarint(out, m.expected+uint64(i))
				out = append(out, e.MessageID[:]...)
				out = append(out, e.Manifest...)
				out = append(out, e.Payload...)
			}
		}
		if _, err := l.file.Write(out); err != nil {
			b.Errorf("write: %v", err)
		}
		if err := syscall.Fdatasync(int(l.file.Fd())); err != nil {
			b.Errorf("sync: %v", err)
		}
		for _, r := range group.requests {
			r.Answer(nil)
		}
	}
}

func (l *rawLog) close() {
	l.queue.close()
	<-l.done
	_ = l.file.Close()
}
