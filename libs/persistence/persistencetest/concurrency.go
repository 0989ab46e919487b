package persistencetest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

var concurrencyTests = []namedTest{
	{"many streams, one writer each", concurrentStreams},
	{"duelling writers", concurrentDuel},
	{"readers see a prefix", concurrentReaders},
}

// requireRun checks that events are exactly the seqs from the first one's on, with epochs that never fall.
func requireRun(b *bench, events []persistence.Event) {
	b.Helper()
	for i := 1; i < len(events); i++ {
		require.Equal(b, events[i-1].Seq+1, events[i].Seq)
		require.LessOrEqual(b, events[i-1].Epoch, events[i].Epoch)
	}
}

func concurrentStreams(b *bench) {
	const streams, each = 200, 20
	var group sync.WaitGroup
	for i := range streams {
		group.Go(func() {
			key := persistence.StreamKey(fmt.Sprintf("room/%d", i))
			c, err := b.Claim(b.Context(), key, "node-a", persistence.ClaimOptions{})
			requireIs(b, err, nil)
			head := uint64(0)
			for j := range each {
				events := newEvents(j%3 + 1)
				last, err := b.Append(b.Context(), c, head, events)
				if err != nil || last != head+uint64(len(events)) {
					b.Errorf("append to %s: %d, %v", key, last, err)
					return
				}
				head = last
			}
		})
	}
	group.Wait()
	for i := range streams {
		key := persistence.StreamKey(fmt.Sprintf("room/%d", i))
		events := b.all(key)
		requireRun(b, events)
		h, err := b.Head(b.Context(), key)
		require.NoError(b, err)
		require.EqualValues(b, len(events), h.LastSeq)
		require.Len(b, events, 39)
	}
}

// acked is an event that a writer was told is durable.
type acked struct {
	key   persistence.StreamKey
	seq   uint64
	epoch uint64
	id    [16]byte
}

// concurrentDuel: several activations of each stream claim it from each other for a while. Every acknowledged event is
// there once, at its seq, with its epoch; nothing else is there; each epoch had one writer.
func concurrentDuel(b *bench) {
	const streams, writers, rounds = 4, 4, 12
	var mu sync.Mutex
	var all []acked
	var group sync.WaitGroup
	for i := range streams * writers {
		key := persistence.StreamKey(fmt.Sprintf("room/%d", i%streams))
		group.Go(func() {
			for range rounds {
				mine, err := duel(b, key, fmt.Sprintf("node-%d", i/streams))
				if err != nil {
					b.Errorf("duel for %s: %v", key, err)
					return
				}
				mu.Lock()
				all = append(all, mine...)
				mu.Unlock()
			}
		})
	}
	group.Wait()

	expected := map[persistence.StreamKey]map[uint64]acked{}
	for _, a := range all {
		if expected[a.key] == nil {
			expected[a.key] = map[uint64]acked{}
		}
		require.NotContains(b, expected[a.key], a.seq, "two writers were given seq %d of %s", a.seq, a.key)
		expected[a.key][a.seq] = a
	}
	for key, want := range expected {
		events := b.all(key)
		requireRun(b, events)
		require.Len(b, events, len(want))
		for _, e := range events {
			require.Equal(b, want[e.Seq], acked{key: key, seq: e.Seq, epoch: e.Epoch, id: e.MessageID})
		}
	}
}

// duel claims the stream and appends until it has 10 events or somebody else claimed it.
func duel(b *bench, key persistence.StreamKey, owner string) (mine []acked, err error) {
	c, err := b.Claim(b.Context(), key, owner, persistence.ClaimOptions{})
	if err != nil {
		return nil, err
	}
	for head := c.LastSeq; len(mine) < 10; {
		events := newEvents(len(mine)%3 + 1)
		last, err := b.Append(b.Context(), c, head, events)
		if errors.Is(err, persistence.ErrFenced) {
			return mine, nil
		}
		if err != nil {
			return mine, err
		}
		for i, e := range events {
			mine = append(mine, acked{key: key, seq: head + 1 + uint64(i), epoch: c.Epoch, id: e.MessageID})
		}
		head = last
	}
	return mine, nil
}

// concurrentReaders: what was acknowledged is read at once, and a page never has a hole.
func concurrentReaders(b *bench) {
	c := b.claim("room/1", "node-a")
	stop := make(chan struct{})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for next := uint64(1); ; {
				events, err := b.Read(b.Context(), "room/1", next, 50)
				requireIs(b, err, nil)
				for _, e := range events {
					if e.Seq != next {
						b.Errorf("read %d, want %d", e.Seq, next)
						return
					}
					next++
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for head := uint64(0); head < 300; head++ {
		b.append(c, head, newEvent("x"))
		events, err := b.ReadReverse(b.Context(), "room/1", 0, 1)
		require.NoError(b, err)
		require.Equal(b, []uint64{head + 1}, seqs(events))
	}
	close(stop)
	group.Wait()
}
