package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/sqlite/internal/lite"
)

// mutationFunc runs a test's code inside the writer.
type mutationFunc func(*writer) error

func (f mutationFunc) apply(w *writer) error { return f(w) }

func openBackend(t *testing.T) *Backend {
	t.Helper()
	b, err := Open(t.Context(), filepath.Join(t.TempDir(), "journal.db"), Options{Readers: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close(context.Background())) })
	return b
}

func (b *Backend) inWriter(t *testing.T, fn func(*writer)) {
	t.Helper()
	require.NoError(t, b.submit(context.Background(), &request{events: 1, mutation: mutationFunc(func(w *writer) error {
		fn(w)
		return nil
	})}))
}

// stall holds the writer in a commit until release is called, so that what is submitted meanwhile forms one queue.
func (b *Backend) stall(t *testing.T) (release func()) {
	t.Helper()
	reached, held := make(chan struct{}), make(chan struct{})
	b.inWriter(t, func(w *writer) {
		// This runs before the commit of its own transaction: skip that one.
		own, commit := true, w.commit
		w.commit = func() error {
			if own {
				own = false
				return commit()
			}
			close(reached)
			<-held
			w.commit = commit
			return commit()
		}
	})
	ended := make(chan error, 1)
	go func() { ended <- b.Ping(context.Background()) }()
	<-reached
	return func() {
		close(held)
		require.NoError(t, <-ended)
	}
}

// queued waits until n requests are queued. Only a goroutine that is about to queue one can bring that about.
func (b *Backend) queued(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		b.queue.mu.Lock()
		defer b.queue.mu.Unlock()
		return len(b.queue.items) == n
	}, 10*time.Second, time.Millisecond)
}

func claimOf(t *testing.T, b *Backend, key persistence.StreamKey) persistence.Claim {
	t.Helper()
	c, err := b.Claim(t.Context(), key, "node-a", persistence.ClaimOptions{})
	require.NoError(t, err)
	return c
}

func event(payload string) []persistence.Event {
	return []persistence.Event{{Manifest: "test.v1.Event", Payload: []byte(payload)}}
}

// appending starts an append and tells its result.
func (b *Backend) appending(c persistence.Claim, expected uint64, events []persistence.Event) <-chan error {
	result := make(chan error, 1)
	go func() {
		_, err := b.Append(context.Background(), c, expected, events)
		result <- err
	}()
	return result
}

// batches counts the transactions that fn's work takes.
func (b *Backend) batches(t *testing.T, fn func()) int {
	t.Helper()
	count := 0
	b.inWriter(t, func(w *writer) {
		commit := w.commit
		w.commit = func() error { count++; return commit() }
	})
	fn()
	b.inWriter(t, func(*writer) {}) // orders the last count before the read below
	return count - 2                // without this one and the one that began to count
}

func TestWriterGroupsWhatIsQueued(t *testing.T) {
	t.Parallel()
	b := openBackend(t)
	claims := make([]persistence.Claim, 100)
	for i := range claims {
		claims[i] = claimOf(t, b, persistence.StreamKey(fmt.Sprintf("room/%d", i)))
	}
	var results []<-chan error
	n := b.batches(t, func() {
		release := b.stall(t)
		for _, c := range claims {
			results = append(results, b.appending(c, 0, event("x")))
		}
		b.queued(t, len(claims))
		release()
		for _, r := range results {
			require.NoError(t, <-r)
		}
	})
	require.Equal(t, 3, n, "the stall's two and one for a hundred appends")
}

func TestWriterHoldsTheSecondAppendOfAnActivation(t *testing.T) {
	t.Parallel()
	b := openBackend(t)
	c, other := claimOf(t, b, "room/1"), claimOf(t, b, "room/2")
	n := b.batches(t, func() {
		release := b.stall(t)
		first := b.appending(c, 0, event("first"))
		b.queued(t, 1)
		second := b.appending(c, 1, event("second"))
		b.queued(t, 2)
		third := b.appending(other, 0, event("other"))
		b.queued(t, 3)
		release()
		require.NoError(t, <-first)
		require.NoError(t, <-second)
		require.NoError(t, <-third)
	})
	require.Equal(t, 4, n, "the stall's two and two for the appends")
	events, err := b.Read(t.Context(), "room/1", 1, 10)
	require.NoError(t, err)
	require.Equal(t, "second", string(events[1].Payload))
}

// The loser's rows must not ride on the winner's success, whichever comes first in the batch.
func TestWriterTwoEpochsInOneBatch(t *testing.T) {
	t.Parallel()
	b := openBackend(t)
	old := claimOf(t, b, "room/1")
	now := claimOf(t, b, "room/1")
	for round := range uint64(2) {
		release := b.stall(t)
		claims := []persistence.Claim{old, now}
		if round == 1 {
			claims = []persistence.Claim{now, old}
		}
		results := map[uint64]<-chan error{}
		for i, c := range claims {
			results[c.Epoch] = b.appending(c, round, event(fmt.Sprint(c.Epoch)))
			b.queued(t, i+1)
		}
		release()
		require.ErrorIs(t, <-results[1], persistence.ErrFenced)
		require.NoError(t, <-results[2])
	}
	events, err := b.Read(t.Context(), "room/1", 1, 10)
	require.NoError(t, err)
	require.Len(t, events, 2)
	for _, e := range events {
		require.Equal(t, "2", string(e.Payload))
	}
}

// A claim that was queued before an append of the old epoch fences it within the same transaction.
func TestWriterClaimAndAppendInOneBatch(t *testing.T) {
	t.Parallel()
	b := openBackend(t)
	old := claimOf(t, b, "room/1")
	release := b.stall(t)
	before := b.appending(old, 0, event("before"))
	b.queued(t, 1)
	claimed := make(chan persistence.Claim, 1)
	go func() {
		c, err := b.Claim(context.Background(), "room/1", "node-b", persistence.ClaimOptions{})
		if err != nil {
			t.Errorf("claim: %v", err)
		}
		claimed <- c
	}()
	b.queued(t, 2)
	release()
	require.NoError(t, <-before)
	now := <-claimed
	require.EqualValues(t, 1, now.LastSeq)
	require.ErrorIs(t, <-b.appending(old, 1, event("after")), persistence.ErrFenced)
}

func TestWriterIsolatesPoison(t *testing.T) {
	t.Parallel()
	b := openBackend(t)
	good, bad := claimOf(t, b, "room/good"), claimOf(t, b, "room/bad")
	b.inWriter(t, func(w *writer) { // an event beyond its head, as no journal has
		require.NoError(t, w.conn.Exec(fmt.Sprintf(`INSERT INTO journal_event (pos, stream_id, seq, epoch, at, lane, part, codec,
			message_id, manifest, payload) VALUES (1000000, %d, 2, 1, 0, 0, 0, 0, x'', '', x'')`, bad.StreamID)))
	})
	release := b.stall(t)
	two := append(event("one"), event("two")...)
	poison := b.appending(bad, 0, two)
	b.queued(t, 1)
	fine := b.appending(good, 0, two)
	b.queued(t, 2)
	release()
	require.ErrorIs(t, <-poison, persistence.ErrCorrupt)
	require.NoError(t, <-fine)

	h, err := b.Head(t.Context(), "room/bad")
	require.NoError(t, err)
	require.Zero(t, h.LastSeq, "nothing of the poisoned append stays")
	events, err := b.Read(t.Context(), "room/good", 1, 10)
	require.NoError(t, err)
	require.Len(t, events, 2)
}

func TestWriterFullDisk(t *testing.T) {
	t.Parallel()
	b := openBackend(t)
	one, two := claimOf(t, b, "room/1"), claimOf(t, b, "room/2")
	var pages int64
	b.inWriter(t, func(w *writer) {
		var err error
		pages, err = queryInt(w.conn, "PRAGMA page_count")
		require.NoError(t, err)
		require.NoError(t, w.conn.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages+1)))
	})
	large := event(string(make([]byte, 64<<10)))
	release := b.stall(t)
	first, second := b.appending(one, 0, event("small")), b.appending(two, 0, large)
	b.queued(t, 2)
	release()
	for _, result := range []<-chan error{first, second} {
		require.ErrorIs(t, <-result, persistence.ErrUnavailable, "the whole batch is certainly not written")
	}
	h, err := b.Head(t.Context(), "room/1")
	require.NoError(t, err)
	require.Zero(t, h.LastSeq)

	b.inWriter(t, func(w *writer) { require.NoError(t, w.conn.Exec("PRAGMA max_page_count = 1000000")) })
	require.NoError(t, <-b.appending(one, 0, event("small")))
	require.NoError(t, <-b.appending(two, 0, large))
}

// failCommit makes the next commit but one (the next is that of this very call) end with err, after or instead of a real
// commit.
func (b *Backend) failCommit(t *testing.T, err error, really bool) {
	t.Helper()
	b.inWriter(t, func(w *writer) {
		own, commit := true, w.commit
		w.commit = func() error {
			if own {
				own = false
				return commit()
			}
			w.commit = commit
			if really {
				return errors.Join(commit(), err)
			}
			return err
		}
	})
}

func TestWriterCommitRefused(t *testing.T) {
	t.Parallel()
	const ioError, full = 10 | 4<<8, 13 // SQLITE_IOERR_FSYNC, SQLITE_FULL
	for _, test := range []struct {
		name   string
		code   int
		really bool
		want   error
		head   uint64
	}{
		{"disk full", full, false, persistence.ErrUnavailable, 0},
		{"sync refused, not stored", ioError, false, persistence.ErrUnknown, 0},
		{"sync refused, stored", ioError, true, persistence.ErrUnknown, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := openBackend(t)
			c := claimOf(t, b, "room/1")
			b.failCommit(t, &lite.Error{Extended: test.code, Message: "injected"}, test.really)
			require.ErrorIs(t, <-b.appending(c, 0, event("x")), test.want)
			settled := claimOf(t, b, "room/1")
			require.Equal(t, test.head, settled.LastSeq)
			require.NoError(t, <-b.appending(settled, test.head, event("y")))
		})
	}
}

// A connection that cannot roll back is closed, and the next batch opens another.
func TestWriterOpensItsConnectionAgain(t *testing.T) {
	t.Parallel()
	b := openBackend(t)
	c := claimOf(t, b, "room/1")
	require.NoError(t, <-b.appending(c, 0, event("x")))
	b.failCommit(t, &lite.Error{Extended: lite.CodeFull, Message: "injected"}, false)
	err := b.submit(t.Context(), &request{events: 1, mutation: mutationFunc(func(w *writer) error {
		broken, err := w.conn.Prepare("ROLLBACK TO missing")
		require.NoError(t, err)
		w.st.all = append(w.st.all, broken)
		w.st.rollback = broken
		return nil
	})})
	require.ErrorIs(t, err, persistence.ErrUnavailable)
	require.NoError(t, <-b.appending(c, 1, event("y")))
	require.EqualValues(t, 2, claimOf(t, b, "room/1").LastSeq)
}
