package persistencetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

// asyncTests are those of Append, done by AppendAsync, and what it promises besides. A backend without it has none of them.
func asyncTests() []namedTest {
	tests := []namedTest{
		{"many at once", asyncMany},
		{"the end of the limit", asyncLimit},
		{"after Close", asyncClosed},
	}
	for _, test := range appendTests {
		tests = append(tests, namedTest{test.name, func(b *bench) {
			if async, ok := b.Backend.(persistence.AsyncAppender); ok {
				b.Backend = &waiter{b.Backend, async}
				test.run(b)
			}
		}})
	}
	return tests
}

// asyncPatience is the limit of appends that are to succeed.
const asyncPatience = 30 * time.Second

// waiter is a backend whose Append waits for its AppendAsync.
type waiter struct {
	persistence.Backend
	async persistence.AsyncAppender
}

func (w *waiter) Append(ctx context.Context, c persistence.Claim, expected uint64, events []persistence.Event) (uint64, error) {
	type result struct {
		last uint64
		err  error
	}
	results := make(chan result, 2)
	w.async.AppendAsync(ctx, c, expected, events, asyncPatience, func(last uint64, err error) { results <- result{last, err} })
	r := <-results
	select {
	case <-results:
		return 0, errors.New("done was called twice")
	default:
		return r.last, r.err
	}
}

// asyncMany has an append of each of many streams on its way at once, again and again from within done, where a room forms its
// next batch from what came meanwhile.
func asyncMany(b *bench) {
	async, ok := b.Backend.(persistence.AsyncAppender)
	if !ok {
		return
	}
	const streams, each = 50, 20
	var ends sync.WaitGroup
	errs := make(chan error, streams)
	for i := range streams {
		c := b.claim(persistence.StreamKey(fmt.Sprintf("room/%d", i)), "node-a")
		ends.Add(1)
		var next func(last uint64, err error)
		next = func(last uint64, err error) {
			if err != nil || last == each {
				errs <- err
				ends.Done()
				return
			}
			async.AppendAsync(b.Context(), c, last, []persistence.Event{newEvent(fmt.Sprint(last + 1))}, asyncPatience, next)
		}
		next(0, nil)
	}
	ends.Wait()
	for range streams {
		require.NoError(b, <-errs)
	}
	for i := range streams {
		events := b.all(persistence.StreamKey(fmt.Sprintf("room/%d", i)))
		require.Len(b, events, each)
		for n, e := range events {
			require.Equal(b, fmt.Sprint(n+1), string(e.Payload))
		}
	}
}

// asyncLimit gives appends no time. Whatever they say then is so: not stored, stored, or not known; and done hears it once.
func asyncLimit(b *bench) {
	async, ok := b.Backend.(persistence.AsyncAppender)
	if !ok {
		return
	}
	const tries = 200
	c := b.claim("room/1", "node-a")
	stored := uint64(0)
	for range tries {
		results := make(chan error, 2)
		async.AppendAsync(b.Context(), c, stored, []persistence.Event{newEvent("x")}, time.Nanosecond, func(_ uint64, err error) { results <- err })
		switch err := <-results; {
		case err == nil:
			stored++
		case errors.Is(err, persistence.ErrUnknown):
			h, err := b.Head(b.Context(), "room/1")
			require.NoError(b, err)
			require.GreaterOrEqual(b, h.LastSeq, stored)
			c = b.claim("room/1", "node-a") // waits for what is on its way
			stored = c.LastSeq
		default:
			require.ErrorIs(b, err, persistence.ErrUnavailable)
		}
		require.Empty(b, results)
	}
	require.Len(b, b.all("room/1"), int(stored))
}

func asyncClosed(b *bench) {
	async, ok := b.Backend.(persistence.AsyncAppender)
	if !ok {
		return
	}
	c := b.claim("room/1", "node-a")
	closeBackend(b, b.Backend)
	results := make(chan error, 2)
	async.AppendAsync(b.Context(), c, 0, []persistence.Event{newEvent("late")}, asyncPatience, func(_ uint64, err error) { results <- err })
	require.ErrorIs(b, <-results, persistence.ErrClosed)
	require.Empty(b, results)
}
