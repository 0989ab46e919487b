package sqlite

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

func TestQueueBounds(t *testing.T) {
	t.Parallel()
	q := newQueue()
	for range maxQueued {
		require.NoError(t, q.put(&request{bytes: 1}))
	}
	require.ErrorIs(t, q.put(&request{bytes: 1}), persistence.ErrOverloaded)

	q = newQueue()
	require.NoError(t, q.put(&request{bytes: maxQueuedBytes}))
	require.ErrorIs(t, q.put(&request{bytes: 1}), persistence.ErrOverloaded)
	b := &batch{}
	require.True(t, q.take(b, true))
	require.Len(t, b.requests, 1)
	require.NoError(t, q.put(&request{bytes: maxQueuedBytes + 1}), "a single one always fits")
}

func TestQueueFillsTransactions(t *testing.T) {
	t.Parallel()
	q := newQueue()
	put := func(stream int64, events, bytes int) *request {
		r := &request{key: writerKey{stream: stream}, events: events, bytes: bytes}
		require.NoError(t, q.put(r))
		return r
	}
	take := func() []*request {
		b := &batch{}
		require.True(t, q.take(b, false))
		return b.requests
	}
	huge := put(1, maxBatchEvents+1, 1)
	a := put(2, maxBatchEvents-1, 1)
	again := put(2, 1, 1)
	c := put(3, 1, 1)
	d := put(4, 1, maxBatchBytes)
	gone := put(5, 1, 1)
	require.True(t, gone.Withdraw())
	e := put(6, 1, 1)
	require.Equal(t, []*request{huge}, take(), "a request over the bound has a transaction to itself")
	require.Equal(t, []*request{a, c}, take(), "full by events; the second one of stream 2 waits")
	require.Equal(t, []*request{again}, take(), "full by bytes")
	require.Equal(t, []*request{d}, take())
	require.Equal(t, []*request{e}, take(), "a withdrawn request is passed over")
	require.Empty(t, take())
	require.Zero(t, q.bytes)
	q.close()
	require.False(t, q.take(&batch{}, true))
	require.ErrorIs(t, q.put(&request{}), persistence.ErrClosed)
}
