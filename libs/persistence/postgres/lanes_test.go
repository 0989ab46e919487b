package postgres

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/parley-rt/parley/libs/persistence"
)

func fourLanes() *lanes { return newLanes([]int16{0, 1, 2, 3}, &breaker{}) }

func appendIn(lane int, stream int64, epoch uint64, events, bytes int) *request {
	a := &appendRequest{claim: persistence.Claim{StreamID: stream, Epoch: epoch}, batch: make([]persistence.Event, events)}
	a.request = request{append: a, lane: lane, events: events, bytes: bytes}
	a.Since = time.Now()
	a.Expect()
	return &a.request
}

func claimIn(lane int, key persistence.StreamKey) *request {
	r := &request{claim: &claimRequest{key: key}, lane: lane, events: 1}
	r.Since = time.Now()
	r.Expect()
	return r
}

func put(t require.TestingT, l *lanes, requests ...*request) {
	for _, r := range requests {
		require.NoError(t, l.put(r))
	}
}

func take(t require.TestingT, l *lanes, writer int) *batch {
	var b batch
	require.True(t, l.take(writer, &b))
	return &b
}

// TestOneWriterTakesAllLanes: at low load there is one transaction for all lanes.
func TestOneWriterTakesAllLanes(t *testing.T) {
	t.Parallel()
	l := fourLanes()
	put(t, l, appendIn(0, 1, 1, 1, 10), appendIn(3, 2, 1, 1, 10), appendIn(1, 3, 1, 1, 10), claimIn(2, "room/1"))
	b := take(t, l, 0)
	require.Len(t, b.appends, 3)
	require.Len(t, b.claims, 1)
	require.Len(t, b.lanes, 4)
}

// TestSameWriterWaits: two appends of one activation never share a batch, nor overtake each other; two activations do share.
func TestSameWriterWaits(t *testing.T) {
	t.Parallel()
	l := fourLanes()
	first, second, other := appendIn(0, 1, 1, 1, 10), appendIn(0, 1, 1, 1, 10), appendIn(0, 1, 2, 1, 10)
	put(t, l, first, second, other, claimIn(0, "room/1"), claimIn(0, "room/1"))
	b := take(t, l, 0)
	require.Equal(t, []*request{first, other}, b.appends)
	require.Len(t, b.claims, 1)
	l.release(b)
	b = take(t, l, 0)
	require.Equal(t, []*request{second}, b.appends)
	require.Len(t, b.claims, 1)
}

// TestBatchBounds: a batch ends at 1,000 events or 4 MiB, but has room for one request however large.
func TestBatchBounds(t *testing.T) {
	t.Parallel()
	l := fourLanes()
	put(t, l, appendIn(0, 1, 1, 600, 10), appendIn(0, 2, 1, 600, 10), appendIn(0, 3, 1, 4096, 5<<20), appendIn(0, 4, 1, 1, 10))
	for _, events := range []int{600, 600, 4096, 1} {
		b := take(t, l, 0)
		require.Equal(t, events, b.events)
		l.release(b)
	}
}

// TestLanesTakeTurns: a lane that always fills a batch does not keep the others waiting.
func TestLanesTakeTurns(t *testing.T) {
	t.Parallel()
	l := fourLanes()
	taken := map[int]int{}
	for i := range len(l.all) {
		for lane := range l.all {
			put(t, l, appendIn(lane, int64(100*lane+i+1), 1, maxBatchEvents, 10))
		}
		b := take(t, l, 0)
		for _, r := range b.appends {
			taken[r.lane]++
		}
		l.release(b)
	}
	require.Equal(t, map[int]int{0: 1, 1: 1, 2: 1, 3: 1}, taken)
}

func TestQueueBounds(t *testing.T) {
	t.Parallel()
	l := fourLanes()
	for i := range maxQueued {
		put(t, l, appendIn(1, int64(i+1), 1, 1, 10))
	}
	require.ErrorIs(t, l.put(appendIn(1, 1<<40, 1, 1, 10)), persistence.ErrOverloaded)
	put(t, l, appendIn(2, 1, 1, 1, 10), appendIn(3, 1, 1, 1, 2*maxQueuedBytes))
	require.ErrorIs(t, l.put(appendIn(3, 2, 1, 1, 1)), persistence.ErrOverloaded, "by bytes; the large one was let in alone")

	stalled := fourLanes()
	put(t, stalled, appendIn(0, 1, 1, 1, 10))
	take(t, stalled, 0)
	put(t, stalled, appendIn(0, 1, 1, 1, 10))
	late := appendIn(0, 2, 1, 1, 10)
	late.Since = time.Now().Add(2 * stallAfter)
	require.ErrorIs(t, stalled.put(late), persistence.ErrUnavailable)
	put(t, stalled, appendIn(1, 2, 1, 1, 10))
}

// TestSpread: large batches call more writers, small ones send them home.
func TestSpread(t *testing.T) {
	t.Parallel()
	l := fourLanes()
	stream := int64(0)
	commit := func(writers, events int) {
		for lane := range l.all {
			stream++
			put(t, l, appendIn(lane, stream, 1, events/4, 10))
		}
		for w := 0; w < writers; w++ {
			for l.has(w) { // the spread may change while this goes on
				l.release(take(t, l, w))
			}
		}
	}
	for range 100 {
		commit(l.writers(), 64)
	}
	require.Equal(t, 1, l.writers(), "64 in flight: one writer")
	for range 200 {
		commit(l.writers(), 2000)
	}
	require.Equal(t, 4, l.writers())
	for range 400 {
		commit(l.writers(), 64)
	}
	require.Equal(t, 1, l.writers())
}

// TestEveryRequestIsTakenOnceAndInOrder: whatever the spread does meanwhile, and each lane is with one writer at a time.
func TestEveryRequestIsTakenOnceAndInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := fourLanes()
		out := map[int]*batch{} // by writer
		var queued, got []*request
		busy := map[*lane]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				r := appendIn(rapid.IntRange(0, 3).Draw(t, "lane"), rapid.Int64Range(1, 3).Draw(t, "stream"), 1, rapid.IntRange(1, 600).Draw(t, "events"), 10)
				r.append.claim.StreamID += int64(r.lane) * 100 // a stream has one lane
				put(t, l, r)
				queued = append(queued, r)
			},
			"take": func(t *rapid.T) {
				w := rapid.IntRange(0, 3).Draw(t, "writer")
				if out[w] != nil || !l.has(w) {
					return // it would wait
				}
				out[w] = take(t, l, w)
				for _, q := range out[w].lanes {
					require.False(t, busy[q], "lane %d is with another writer", q.id)
					busy[q] = true
				}
				got = append(got, out[w].appends...)
			},
			"release": func(t *rapid.T) {
				w := rapid.IntRange(0, 3).Draw(t, "writer")
				if out[w] == nil {
					return // nothing is out
				}
				for _, q := range out[w].lanes {
					delete(busy, q)
				}
				l.release(out[w])
				delete(out, w)
			},
		})
		for w, b := range out {
			l.release(b)
			delete(out, w)
		}
		l.close()
		for w := range l.all {
			for b := (&batch{}); l.take(w, b); {
				got = append(got, b.appends...)
				l.release(b)
			}
		}
		require.ElementsMatch(t, queued, got)
		require.Equal(t, byWriter(queued), byWriter(got), "appends of one writer keep their order")
	})
}

// has tells whether take would return at once.
func (l *lanes) has(writer int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if writer >= l.spread {
		return false
	}
	for i := writer; i < len(l.all); i += l.spread {
		if len(l.all[i].items) > 0 && !l.all[i].busy {
			return true
		}
	}
	return false
}

func byWriter(requests []*request) map[writerKey][]*request {
	out := map[writerKey][]*request{}
	for _, r := range requests {
		out[r.append.key()] = append(out[r.append.key()], r)
	}
	return out
}

// TestFailAndDrop: what is queued is answered, what is taken is not.
func TestFailAndDrop(t *testing.T) {
	t.Parallel()
	l := fourLanes()
	out, waiting, withdrew := appendIn(0, 1, 1, 1, 10), appendIn(0, 1, 1, 1, 10), appendIn(1, 2, 1, 1, 10)
	put(t, l, out)
	b := take(t, l, 0)
	put(t, l, waiting, withdrew)
	require.True(t, withdrew.Withdraw())
	l.fail(persistence.ErrUnavailable)
	<-waiting.Done()
	require.ErrorIs(t, waiting.Err(), persistence.ErrUnavailable)
	select {
	case <-out.Done():
		require.Fail(t, "it is with a writer")
	case <-withdrew.Done():
		require.Fail(t, "its caller has left")
	default:
	}
	l.release(b)
	l.close()
	require.ErrorIs(t, l.put(appendIn(0, 1, 1, 1, 10)), persistence.ErrClosed)
	require.False(t, l.take(0, &batch{}))
}

func TestBreakerCountsInARow(t *testing.T) {
	t.Parallel()
	b := &breaker{}
	cause := errors.New("down")
	for range tripAfter - 1 {
		require.False(t, b.failed(cause))
	}
	require.False(t, b.succeeded(), "it was not open")
	for range tripAfter - 1 {
		require.False(t, b.failed(cause))
		require.NoError(t, b.refuses())
	}
	require.True(t, b.failed(cause))
	require.False(t, b.failed(context.Canceled), "it is open already")
	require.ErrorIs(t, b.refuses(), persistence.ErrUnavailable)
	require.ErrorIs(t, b.refuses(), context.Canceled, "the newest cause")
	require.True(t, b.succeeded())
	require.NoError(t, b.refuses())
}

func TestClosedComesBeforeUnavailable(t *testing.T) {
	t.Parallel()
	l := fourLanes()
	for range tripAfter {
		l.breaker.failed(errNotSent)
	}
	r := &request{}
	require.ErrorIs(t, l.put(r), persistence.ErrUnavailable)
	l.close()
	require.ErrorIs(t, l.put(r), persistence.ErrClosed)
}
