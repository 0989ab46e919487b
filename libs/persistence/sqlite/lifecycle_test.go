package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

func TestContextEndsInTheQueue(t *testing.T) {
	t.Parallel()
	b := openBackend(t)
	c := claimOf(t, b, "room/1")
	release := b.stall(t)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := b.Append(ctx, c, 0, event("x"))
		result <- err
	}()
	b.queued(t, 1)
	cancel()
	err := <-result
	require.ErrorIs(t, err, persistence.ErrUnavailable)
	require.ErrorIs(t, err, context.Canceled)
	release()
	require.Zero(t, claimOf(t, b, "room/1").LastSeq, "certainly not written")
}

func TestContextEndsInTheCommit(t *testing.T) {
	t.Parallel()
	b := openBackend(t)
	c := claimOf(t, b, "room/1")
	reached, held := make(chan struct{}), make(chan struct{})
	b.inWriter(t, func(w *writer) {
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
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	events := event("payload")
	go func() {
		_, err := b.Append(ctx, c, 0, events)
		result <- err
	}()
	<-reached
	cancel()
	err := <-result
	require.ErrorIs(t, err, persistence.ErrUnknown)
	require.ErrorIs(t, err, context.Canceled)
	clear(events[0].Payload) // ours again, though the commit is still under way
	close(held)
	require.EqualValues(t, 1, claimOf(t, b, "room/1").LastSeq)
	stored, err := b.Read(t.Context(), "room/1", 1, 1)
	require.NoError(t, err)
	require.Equal(t, "payload", string(stored[0].Payload))
}

// While the store hangs before the commit, only those wait longer than they want whose memory it reads.
func TestContextEndsBeforeTheCommit(t *testing.T) {
	t.Parallel()
	b := openBackend(t)
	c := claimOf(t, b, "room/1")
	release := b.stall(t)
	hangs, hung := make(chan struct{}), make(chan struct{})
	results := make(chan error, 1)
	go func() {
		results <- b.submit(context.Background(), &request{events: 1, mutation: mutationFunc(func(*writer) error {
			close(hangs)
			<-hung
			return nil
		})})
	}()
	b.queued(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	ids := make([]persistence.SessionID, 3)
	calls := map[string]func() error{
		"claim":  func() error { _, err := b.Claim(ctx, "room/2", "node-a", persistence.ClaimOptions{}); return err },
		"extend": func() error { return b.ExtendSessions(ctx, ids, time.Minute) },
		"ping":   func() error { return b.Ping(ctx) },
	}
	others := make(chan error, len(calls))
	for _, call := range calls {
		go func() { others <- call() }()
	}
	lent := make(chan error, 1)
	go func() {
		_, err := b.Append(ctx, c, 0, event("lent"))
		lent <- err
	}()
	b.queued(t, 2+len(calls))
	release()
	<-hangs
	cancel()
	for range calls {
		err := <-others
		require.ErrorIs(t, err, persistence.ErrUnknown)
		require.ErrorIs(t, err, context.Canceled)
	}
	clear(ids)
	select {
	case err := <-lent:
		require.Fail(t, "the append gave its events back while they may be read", "%v", err)
	default:
	}
	close(hung)
	require.NoError(t, <-results)
	if err := <-lent; err != nil {
		require.ErrorIs(t, err, persistence.ErrUnknown)
	}
	require.EqualValues(t, 1, claimOf(t, b, "room/1").LastSeq)
}

func TestCloseIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.db")
	b, err := Open(t.Context(), path, Options{})
	require.NoError(t, err)
	c := claimOf(t, b, "room/1")
	release := b.stall(t)
	var group sync.WaitGroup
	for i := range uint64(10) {
		group.Go(func() {
			if _, err := b.Append(context.Background(), c, i, event("x")); !errors.Is(err, persistence.ErrClosed) {
				t.Errorf("append: %v", err)
			}
		})
	}
	b.queued(t, 10)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, b.Close(ctx), context.Canceled)
	group.Wait()
	var locked *LockedError
	_, err = Open(t.Context(), path, Options{})
	require.ErrorAs(t, err, &locked, "a commit is still under way")
	release()
	require.NoError(t, b.Close(t.Context()), "now it ends")
	b, err = Open(t.Context(), path, Options{})
	require.NoError(t, err)
	require.Zero(t, claimOf(t, b, "room/1").LastSeq)
	require.NoError(t, b.Close(t.Context()))
}
