package router_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tochemey/goakt/v4/actor"
	gerrors "github.com/tochemey/goakt/v4/errors"
	"github.com/tochemey/goakt/v4/supervisor"

	"github.com/parley-rt/parley/libs/actorkit"
)

// These tests pin why GoAkt's routers are not used. When an upgrade breaks one, that reason is gone.

// echo counts what each of a router's actors gets in a counter of the message, and answers.
type echo struct{ had int }

type message struct {
	had  chan int // how many the actor has had, this one included
	wait chan struct{}
}

func (*echo) PreStart(*actor.Context) error { return nil }

func (*echo) PostStop(*actor.Context) error { return nil }

func (e *echo) Receive(rctx *actor.ReceiveContext) {
	if m, ok := rctx.Message().(*message); ok {
		e.had++
		if m.had != nil {
			m.had <- e.had
		}
		if m.wait == nil {
			rctx.Response("answer")
		}
	}
}

// goaktRouter starts a router and waits for its routees. It spawns them in a turn, for which each needs another worker: two routers that
// start at once may take all workers there are, and then wait for each other.
func goaktRouter(t *testing.T, sys actor.ActorSystem, name string, size int, opts ...actor.RouterOption) *actor.PID {
	t.Helper()
	pid, err := sys.SpawnRouter(t.Context(), name, size, &echo{}, opts...)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		got, err := sys.NoSender().Ask(context.Background(), pid, &actor.GetRoutees{}, 100*time.Millisecond)
		return err == nil && len(got.(*actor.Routees).Names()) == size // who asks too early is not answered
	}, waitFor, tick)
	return pid
}

func TestGoAktRoundRobinDoesNotTakeTurns(t *testing.T) {
	t.Parallel()
	sys := startSystem(t)
	pid := goaktRouter(t, sys, "turns", 5, actor.WithRoutingStrategy(actor.RoundRobinRouting))
	const rounds = 20
	had := make(chan int, 5*rounds)
	for range 5 * rounds {
		require.NoError(t, pid.Tell(t.Context(), pid, actor.NewBroadcast(&message{had: had})))
	}
	busiest := 0
	for range 5 * rounds {
		busiest = max(busiest, <-had)
	}
	require.Greater(t, busiest, rounds, "each got as many: the routees are in order now")
}

func TestGoAktRoutersDoNotPassAnswersOn(t *testing.T) {
	t.Parallel()
	sys := startSystem(t)
	pid := goaktRouter(t, sys, "answers", 1, actor.WithRoutingStrategy(actor.RoundRobinRouting))
	had := make(chan int, 1)
	_, err := sys.NoSender().Ask(t.Context(), pid, actor.NewBroadcast(&message{had: had}), 200*time.Millisecond)
	require.ErrorIs(t, err, gerrors.ErrRequestTimeout)
	require.Equal(t, 1, <-had)
}

func TestGoAktRoutersHoldAWorker(t *testing.T) {
	t.Parallel()
	for name, strategy := range map[string]actor.RouterOption{
		"tail-chopping":  actor.AsTailChopping(time.Second, time.Second/2),
		"scatter-gather": actor.AsScatterGatherFirst(time.Second),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sys := startSystem(t)
			probe, err := sys.Spawn(t.Context(), "probe", &echo{}, actorkit.SpawnOptions()...)
			require.NoError(t, err)
			var routers []*actor.PID
			for i := range max(runtime.GOMAXPROCS(0), 2) {
				routers = append(routers, goaktRouter(t, sys, "r"+string(rune('a'+i)), 1, strategy))
			}
			for _, r := range routers {
				require.NoError(t, probe.Tell(t.Context(), r, actor.NewBroadcast(&message{wait: make(chan struct{})})))
			}
			starved := false
			for range 3 { // the routers may not have had their turns when it is asked first
				_, err := sys.NoSender().Ask(t.Context(), probe, &message{}, 300*time.Millisecond)
				starved = starved || err != nil
			}
			require.True(t, starved, "another actor has its turn meanwhile")
			for _, r := range routers {
				_, err := sys.NoSender().Ask(t.Context(), r, &actor.GetRoutees{}, waitFor)
				require.NoError(t, err)
			}
		})
	}
}

// The value that panicked, with whatever it was about to change, is started again.
func TestGoAktRestartsTheSameValue(t *testing.T) {
	t.Parallel()
	sys := startSystem(t)
	pid, err := sys.Spawn(t.Context(), "a", &echo{}, actor.WithLongLived(), actor.WithSupervisor(
		supervisor.NewSupervisor(supervisor.WithAnyErrorDirective(supervisor.RestartDirective))))
	require.NoError(t, err)
	closed := make(chan int)
	close(closed)
	require.NoError(t, sys.NoSender().Tell(t.Context(), pid, &message{had: closed})) // it panics
	require.Eventually(t, func() bool { return pid.RestartCount() == 1 && pid.IsRunning() }, waitFor, tick)
	had := make(chan int, 1)
	require.NoError(t, sys.NoSender().Tell(t.Context(), pid, &message{had: had}))
	require.Equal(t, 2, <-had, "it began anew")
}
