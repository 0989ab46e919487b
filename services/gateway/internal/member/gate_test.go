package member

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// clock is a time that a test moves.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{time.Unix(1_700_000_000, 0)} }

func (c *clock) time() time.Time      { return c.now }
func (c *clock) pass(d time.Duration) { c.now = c.now.Add(d) }

func TestGateLetsInInOrder(t *testing.T) {
	t.Parallel()
	c := newClock()
	g := NewGate(GateConfig{AtOnce: 2}, c.time)
	var begun []int
	turns := make([]*Turn, 6)
	for i := range turns {
		var now bool
		turns[i], now = g.Enter(func() { begun = append(begun, i) })
		require.Equal(t, i < 2, now)
	}
	turns[0].Leave()
	turns[0].Leave() // twice is once
	require.Equal(t, []int{2}, begun)
	turns[4].Leave() // gives up
	turns[1].Leave()
	turns[2].Leave()
	require.Equal(t, []int{2, 3, 5}, begun)
	opening, waiting, _ := g.State()
	require.Equal(t, 2, opening)
	require.Zero(t, waiting)
	turns[3].Leave()
	turns[5].Leave()
	opening, _, _ = g.State()
	require.Zero(t, opening)
}

func TestGateAdmitsByAge(t *testing.T) {
	t.Parallel()
	c := newClock()
	g := NewGate(GateConfig{AtOnce: 1, MaxWaiting: 3}, c.time)
	admitted := func() bool { _, ok := g.Admit(); return ok }
	first, _ := g.Enter(nil)
	require.True(t, admitted(), "nobody waits")
	second, _ := g.Enter(func() {})
	c.pass(999 * time.Millisecond)
	require.True(t, admitted())
	g.Enter(func() {})
	c.pass(time.Millisecond)
	require.False(t, admitted(), "the first one waits too long")
	_, waiting, age := g.State()
	require.Equal(t, 2, waiting)
	require.Equal(t, time.Second, age)
	first.Leave()
	require.True(t, admitted(), "the next one waits since just now")
	g.Enter(func() {})
	g.Enter(func() {})
	require.False(t, admitted(), "too many")
	second.Leave()
	require.True(t, admitted())
}

// Those that are sent away are told different times, at the pace at which others are taken, and after those who wait for that.
func TestGateSpreadsReturns(t *testing.T) {
	t.Parallel()
	for _, taken := range []float64{0, 50, 1000} {
		c := newClock()
		g := NewGate(GateConfig{AtOnce: 1, MinRate: 200}, c.time)
		soonest := time.Second
		if taken != 0 {
			soonest = 2500 * time.Millisecond
			g.PacedBy(func() (float64, time.Duration) { return taken, soonest })
		}
		var told []time.Duration
		for range 2000 {
			told = append(told, g.Later())
		}
		require.True(t, slices.IsSorted(told))
		require.Equal(t, soonest, told[0])
		rate := 1999 / (told[1999] - told[0]).Seconds()
		require.InDelta(t, max(200, taken), rate, 1)

		// It does not look ahead for ever.
		for range 100_000 {
			require.LessOrEqual(t, g.Later(), 30*time.Second)
		}
		c.pass(time.Minute)
		require.Equal(t, soonest, g.Later(), "and forgets what is over")
	}
	g := NewGate(GateConfig{}, time.Now)
	g.PacedBy(func() (float64, time.Duration) { return 1, time.Hour })
	require.LessOrEqual(t, g.Later(), 30*time.Second)
}

func TestGateUnderLoad(t *testing.T) {
	t.Parallel()
	g := NewGate(GateConfig{AtOnce: 7}, time.Now)
	var inside, most, done atomic.Int64
	var all sync.WaitGroup
	for i := range 2000 {
		all.Go(func() {
			turn := make(chan struct{})
			tn, now := g.Enter(func() { close(turn) })
			if !now && i%5 == 0 {
				tn.Leave() // gives up, perhaps just when it is its turn
				return
			}
			if !now {
				<-turn
			}
			for n := inside.Add(1); ; {
				if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
					break
				}
			}
			inside.Add(-1)
			done.Add(1)
			tn.Leave()
		})
	}
	all.Wait()
	require.LessOrEqual(t, most.Load(), int64(7))
	require.GreaterOrEqual(t, done.Load(), int64(1600))
	opening, waiting, _ := g.State()
	require.Zero(t, opening)
	require.Zero(t, waiting)
}

// A connection has its place from its turn until its rooms are joined, or are not waited for.
func TestOpeningHoldsAPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.full = true
	w.client(`{"hello":{"session_token":"old"}}`)
	w.client(`{"id":5,"ping":{}}`)
	require.Empty(t, w.opens, "it is not its turn")
	w.core.Admitted()
	require.Equal(t, []string{"old"}, w.opens)
	w.opened("a", "b")
	w.expect("*", `{"id":5,"pong":{}}`)
	require.True(t, w.inside)
	w.answer(w.sent[0], &roomv1.Joined{Head: 1, Cursor: 1})
	require.True(t, w.inside)
	w.answer(w.sent[1], refused(clientv1.ErrorCode_ERROR_CODE_FORBIDDEN))
	require.False(t, w.inside)
	w.expect("*", "*")
	w.core.Admitted() // again is nothing

	slow := newWorld(t, Config{})
	slow.core.Silence(slow.now)
	slow.opened("a")
	slow.pass(200e6)
	require.True(t, slow.inside)
	slow.pass(100e6)
	require.False(t, slow.inside, "a room that does not answer holds up nobody else")
	slow.answer(slow.last(), &roomv1.Joined{Head: 1, Cursor: 1})
	slow.expect("*", "*")

	empty := newWorld(t, Config{})
	empty.open()
	require.False(t, empty.inside)

	gone := newWorld(t, Config{})
	gone.core.Silence(gone.now)
	gone.opened("a")
	gone.core.Stop()
	require.False(t, gone.inside)
}

func TestQueuedTooLongIsSentAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.full = true
	cmd := w.client(`{"hello":{"session_token":"old"}}`)
	w.pass(3900e6)
	require.Zero(t, w.closed)
	w.pass(200e6)
	w.expect(`{"reconnect":{"after_ms":1500,"reason":"OVERLOADED"}}`)
	require.Equal(t, clientv1.CloseCode_CLOSE_CODE_OVERLOADED, w.closed)
	require.False(t, w.inside)
	w.core.Admitted()
	require.Empty(t, w.opens)
	w.core.Stop()
	require.Equal(t, []string{outcomeClosed}, w.done[cmd])
}
