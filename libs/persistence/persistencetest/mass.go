package persistencetest

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

var massTests = []namedTest{
	{"ten thousand streams are claimed and recovered at once", massRecovery},
}

// massRecovery: a node dies and others take over all that it had, a thousand at a time. Each stream has a snapshot and a
// tail, and its state is what its events were, in their order.
func massRecovery(b *bench) {
	const streams, workers = 10_000, 1_000
	b.work(workers, streams, func(i int) error { return b.createCounter(i) })
	b.work(workers, streams, func(i int) error { return b.takeCounter(i) })
	require.False(b, b.Failed())
}

// work runs fn for 0 to n-1 from that many goroutines.
func (b *bench) work(workers, n int, fn func(int) error) {
	b.Helper()
	next := make(chan int)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for i := range next {
				if err := fn(i); err != nil {
					b.Errorf("%d: %v", i, err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
}

func counterKey(i int) persistence.StreamKey {
	return persistence.StreamKey(fmt.Sprintf("room/%d", i))
}

// counterTail is how many events the stream has after its snapshot at 1.
func counterTail(i int) int { return i % 3 }

// fold is a state that shows which events made it, and in which order.
func fold(state uint64, payload []byte) uint64 {
	return state*31 + binary.BigEndian.Uint64(payload)
}

func counterEvent(i, seq int) persistence.Event {
	e := newEvent("")
	e.Payload = binary.BigEndian.AppendUint64(nil, uint64(i*1000+seq))
	return e
}

func (b *bench) createCounter(i int) error {
	c, err := b.Claim(b.Context(), counterKey(i), "node-a", persistence.ClaimOptions{})
	if err != nil {
		return err
	}
	var events []persistence.Event
	for seq := range 1 + counterTail(i) {
		events = append(events, counterEvent(i, seq+1))
	}
	if _, err := b.Append(b.Context(), c, 0, events); err != nil {
		return err
	}
	state := fold(0, events[0].Payload)
	return b.SaveSnapshot(b.Context(), c, persistence.Snapshot{Seq: 1, Payload: binary.BigEndian.AppendUint64(nil, state)})
}

func (b *bench) takeCounter(i int) error {
	c, err := b.Claim(b.Context(), counterKey(i), "node-b", persistence.ClaimOptions{})
	if err != nil {
		return err
	}
	rec, err := b.Recover(b.Context(), c)
	if err != nil {
		return err
	}
	if rec.Snapshot.Seq != 1 || len(rec.Tail) != counterTail(i) || rec.More || c.Epoch != 2 || c.PreviousOwner != "node-a" {
		return fmt.Errorf("recovered a snapshot at %d and %d events by %+v: %w", rec.Snapshot.Seq, len(rec.Tail), c, persistence.ErrCorrupt)
	}
	state, want := binary.BigEndian.Uint64(rec.Snapshot.Payload), uint64(0)
	for _, e := range rec.Tail {
		state = fold(state, e.Payload)
	}
	for seq := range 1 + counterTail(i) {
		want = fold(want, counterEvent(i, seq+1).Payload)
	}
	if state != want {
		return fmt.Errorf("state is %d, want %d: %w", state, want, persistence.ErrCorrupt)
	}
	return nil
}
