package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"

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
