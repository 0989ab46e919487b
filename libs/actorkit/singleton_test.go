package actorkit_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/memory"
)

// One of many runs the actor, everybody knows which, and who stops hands over at once.
func TestSingletonIsHandedOver(t *testing.T) {
	t.Parallel()
	const ttl = 20 * time.Second
	r := startRivals(t, memory.New(memory.Options{}), ttl, "a", "b", "c")
	epoch := uint64(0)
	names := map[string]bool{}
	for range 3 {
		c := r.next()
		require.Greater(t, c.term.Epoch(), epoch)
		epoch = c.term.Epoch()
		require.False(t, names[c.name], "an actor's name was used twice")
		names[c.name] = true
		for name, node := range r.nodes {
			require.Eventually(t, func() bool {
				l, known := node.Leader()
				return known && l.Node == c.node && l.Epoch == epoch && l.Here == (name == c.node)
			}, waitFor, tick)
		}
		require.Eventually(t, func() bool {
			pid, term, here := r.nodes[c.node].Actor()
			return here && pid.Name() == c.name && term == c.term
		}, waitFor, tick)
		require.Empty(t, r.terms, "two at once")

		holder := r.nodes[c.node]
		delete(r.nodes, c.node)
		began := time.Now()
		require.NoError(t, holder.Stop(t.Context()))
		require.Less(t, time.Since(began), ttl/2)
		await(t, c.stopped, "its end")
		require.ErrorIs(t, c.term.Err(), actorkit.ErrTermOver)
		require.ErrorIs(t, c.term.Err(), actorkit.ErrStopped)
		_, _, here := holder.Actor()
		require.False(t, here)
	}
	r.inOrder()
}

// Who cannot reach the journal stops its actor by its own clock, before anybody else may have the lease.
func TestSingletonEndsByItsOwnClock(t *testing.T) {
	t.Parallel()
	r := startRivals(t, memory.New(memory.Options{}), time.Second, "a")
	first := r.next()
	r.start("b", func(c *clerk) actor.Actor { return c })
	require.Eventually(t, func() bool { return first.written.Load() > 0 }, waitFor, tick)
	r.nodes["a"].cut.Store(true)
	second := r.next()
	require.Equal(t, "b", second.node)
	require.ErrorIs(t, first.term.Err(), actorkit.ErrTermOver, "the second began while the first believed that it holds the lease")
	await(t, first.stopped, "its end")
	_, known := r.nodes["a"].Leader()
	require.False(t, known, "it cannot know")

	r.nodes["a"].cut.Store(false)
	require.Eventually(t, func() bool {
		l, known := r.nodes["a"].Leader()
		return known && l.Node == "b" && !l.Here
	}, waitFor, tick)
	require.NoError(t, r.nodes["b"].Stop(t.Context()))
	require.Equal(t, "a", r.next().node)
	require.GreaterOrEqual(t, r.inOrder(), 1)
}

// When the journal's clock jumps ahead, two nodes hold the lease for a while. The first can neither append nor claim.
func TestSingletonWithAJournalWhoseClockJumps(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	r := startRivals(t, memory.New(memory.Options{Now: now}), 5*time.Second, "a")
	first := r.next()
	r.start("b", func(c *clerk) actor.Actor { return c })
	require.Eventually(t, func() bool { return first.written.Load() > 0 }, waitFor, tick)

	var second *clerk
	for second == nil { // a's renewal may come between the jump and b's attempt
		ahead.Add(int64(time.Hour))
		select {
		case second = <-r.terms:
		case <-time.After(time.Second):
		}
	}
	require.Equal(t, "b", second.node)
	_, err := r.journal.Claim(t.Context(), clerksBook, "a", persistence.ClaimOptions{Guard: first.term.Guard()})
	require.ErrorIs(t, err, persistence.ErrGuard)
	await(t, first.stopped, "its end")
	require.ErrorIs(t, first.term.Err(), persistence.ErrLeaseLost)
	require.ErrorIs(t, first.writeErr, persistence.ErrFenced)

	// Backwards: the holder's next renewal puts its end right.
	ahead.Store(-int64(time.Hour))
	written := second.written.Load()
	require.Eventually(t, func() bool { return second.written.Load() > written }, waitFor, tick)
	require.NoError(t, second.term.Err())
	require.Equal(t, 2, r.inOrder())
}

// Nodes lose the lease service, and the journal's clock jumps so that two hold the lease, while every actor writes until it is told to stop
// and claims the stream again when it has lost it. Nothing of a term comes after something of a later one (L6); without the guard it does.
func TestSingletonUnderFaults(t *testing.T) { // alone, since it is busy all the time and has short leases
	for name, careless := range map[string]bool{"guarded": false, "without the guard": true} {
		t.Run(name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			dice := rand.New(rand.NewPCG(seed, 1))
			var ahead atomic.Int64
			now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
			r := startRivals(t, memory.New(memory.Options{Now: now}), 400*time.Millisecond)
			nodes := []string{"a", "b", "c"}
			for _, node := range nodes {
				r.start(node, func(c *clerk) actor.Actor {
					c.stubborn, c.careless = true, careless
					return c
				})
			}
			violated := func() bool {
				_, violation := readTerms(t, r.journal)
				return violation != ""
			}
			for end := time.Now().Add(2 * time.Second); time.Now().Before(end) || careless && !violated(); {
				require.Less(t, time.Since(end), waitFor, "nothing was violated without the guard: the test shows nothing")
				<-time.After(time.Duration(dice.IntN(100)) * time.Millisecond)
				if dice.IntN(3) > 0 {
					ahead.Add(int64(time.Second))
				} else {
					r.nodes[nodes[dice.IntN(3)]].cut.Store(dice.IntN(2) == 0)
				}
			}
			if careless {
				return
			}
			for _, node := range r.nodes {
				node.cut.Store(false)
			}
			held := func() bool {
				_, _, a := r.nodes["a"].Actor()
				_, _, b := r.nodes["b"].Actor()
				_, _, c := r.nodes["c"].Actor()
				return a || b || c
			}
			require.Eventually(t, held, waitFor, tick, "somebody holds it once all is well (L6)")
			require.Greater(t, r.inOrder(), 3)
		})
	}
}

// An actor that panics, or whose PostStop fails so that GoAkt tells nobody of its end, is replaced.
func TestSingletonReplacesAnActorThatEnds(t *testing.T) {
	t.Parallel()
	for name, postStop := range map[string]error{"panics": nil, "fails to stop": errOops} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := startRivals(t, memory.New(memory.Options{}), 2*time.Second)
			node := r.start("a", func(c *clerk) actor.Actor { return &badStop{c, postStop} })
			first := r.next()
			require.Eventually(t, func() bool { _, _, here := node.Actor(); return here }, waitFor, tick)
			pid, _, _ := node.Actor()
			require.NoError(t, pid.Tell(t.Context(), pid, "panic"))
			second := r.next()
			require.Greater(t, second.term.Epoch(), first.term.Epoch())
			require.NotEqual(t, first.name, second.name)
			require.ErrorIs(t, first.term.Err(), actorkit.ErrTermOver)
		})
	}
}

type badStop struct {
	*clerk
	err error
}

func (b *badStop) PostStop(ctx *actor.Context) error {
	return errors.Join(b.clerk.PostStop(ctx), b.err)
}

// An actor that does not start leaves the lease to others and is tried again.
func TestSingletonTriesAgainToStart(t *testing.T) {
	t.Parallel()
	r := startRivals(t, memory.New(memory.Options{}), time.Second)
	var fails atomic.Int32
	node := r.start("a", func(c *clerk) actor.Actor {
		return &scripted{preStart: func(*actor.Context) error {
			if fails.Add(1) <= 3 {
				return errOops
			}
			c.end = make(chan struct{})
			c.terms <- c
			return nil
		}}
	})
	require.GreaterOrEqual(t, r.next().term.Epoch(), uint64(4))
	require.EqualValues(t, 4, fails.Load())
	require.NoError(t, node.Stop(t.Context()))
}

// The lease is kept while PostStop lasts, but not for ever.
func TestSingletonThatStopsSlowly(t *testing.T) {
	t.Parallel()
	r := startRivals(t, memory.New(memory.Options{}), 1500*time.Millisecond)
	open := make(chan struct{})
	release := sync.OnceFunc(func() { close(open) })
	defer release()
	slow := func(c *clerk) actor.Actor {
		return &scripted{
			preStart: func(*actor.Context) error { c.terms <- c; return nil },
			postStop: func() { <-open },
		}
	}
	node := r.start("a", slow, func(c *actorkit.SingletonConfig) { c.StopTimeout = 6 * time.Second })
	first := r.next()
	r.start("b", func(c *clerk) actor.Actor { return c })
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	require.ErrorIs(t, node.Stop(ctx), context.DeadlineExceeded)
	require.NoError(t, first.term.Err(), "twice the TTL has passed, and it still stops")
	require.Empty(t, r.terms)
	require.Equal(t, "b", r.next().node)
	require.ErrorIs(t, first.term.Err(), actorkit.ErrTermOver)
	release()
}

// Who is stopped while its actor starts does not wait for it.
func TestSingletonStopsWhileItStarts(t *testing.T) {
	t.Parallel()
	r := startRivals(t, memory.New(memory.Options{}), time.Second)
	starting := make(chan struct{})
	node := r.start("a", func(*clerk) actor.Actor {
		return &scripted{preStart: func(ctx *actor.Context) error {
			close(starting)
			<-ctx.Context().Done()
			return context.Cause(ctx.Context())
		}}
	})
	await(t, starting, "its start")
	l, known := node.Leader()
	require.True(t, known && l.Here)
	_, _, here := node.Actor()
	require.False(t, here, "it does not run yet")
	require.NoError(t, node.Stop(t.Context()))
	_, err := r.journal.AcquireLease(t.Context(), "book", "other", time.Second)
	require.NoError(t, err, "it was released")
}

func TestSingletonConfigIsChecked(t *testing.T) {
	t.Parallel()
	sys, journal := startSystem(t), memory.New(memory.Options{})
	newActor := func(*actorkit.Term) actor.Actor { return &scripted{} }
	for name, cfg := range map[string]actorkit.SingletonConfig{
		"no name":     {Node: "a"},
		"no node":     {Name: "book"},
		"incarnation": {Name: "book", Node: "a", Incarnation: "x@y"},
		"ttl":         {Name: "book", Node: "a", TTL: time.Millisecond},
		"timeout":     {Name: "book", Node: "a", StopTimeout: -1},
	} {
		_, err := actorkit.StartSingleton(t.Context(), cfg, journal, sys, newActor)
		require.ErrorIs(t, err, actorkit.ErrInvalidConfig, name)
	}
	_, err := actorkit.StartSingleton(t.Context(), actorkit.SingletonConfig{Name: "book", Node: "a"}, nil, sys, newActor)
	require.ErrorIs(t, err, actorkit.ErrInvalidConfig)
}

// A term is over when its time is, also for who asks before the timer has run, and stays over.
func TestTermEndsInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		term := actorkit.NewTerm(t.Context(), persistence.Lease{Epoch: 7}, time.Now().Add(time.Second))
		<-time.After(999 * time.Millisecond)
		require.NoError(t, term.Err())
		term.Extend(time.Now().Add(time.Second))
		<-time.After(999 * time.Millisecond)
		require.NoError(t, term.Err())
		<-time.After(time.Millisecond)
		require.ErrorIs(t, term.Err(), actorkit.ErrTermOver)
		<-term.Context().Done()
		require.ErrorIs(t, context.Cause(term.Context()), actorkit.ErrTermOver)
		term.Extend(time.Now().Add(time.Hour))
		require.ErrorIs(t, term.Err(), actorkit.ErrTermOver)
		require.EqualValues(t, 7, term.Epoch())
		require.Equal(t, persistence.GuardLease{Epoch: 7}, term.Guard())
	})
}
