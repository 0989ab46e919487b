package actorkit_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tochemey/goakt/v4/actor"
	gerrors "github.com/tochemey/goakt/v4/errors"
	goaktlog "github.com/tochemey/goakt/v4/log"
	"github.com/tochemey/goakt/v4/passivation"
	"github.com/tochemey/goakt/v4/supervisor"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
)

// More of what contract_test.go pins: actors of one system. Each says what depends on it, and what to change if it fails.

// Worked around by "never block in Receive": a system has as many workers as the machine has cores, two at least, and a handler
// that waits keeps one. If this fails, workers are no longer few, and the rules in doc.go may be relaxed.
func TestGoAktStarvesActorsWhileHandlersBlock(t *testing.T) {
	t.Parallel()
	sys := startSystem(t)
	probe := actorkittest.StartProbe(t, sys, "waits")
	open, blocked := make(chan struct{}), make(chan struct{})
	var blockers []*actor.PID
	for i := range max(runtime.GOMAXPROCS(0), 2) {
		blockers = append(blockers, spawn(t, sys, fmt.Sprintf("blocker-%d", i), &scripted{receive: func(*actor.ReceiveContext) {
			blocked <- struct{}{}
			<-open
		}}))
	}
	for _, pid := range blockers {
		require.NoError(t, sys.NoSender().Tell(t.Context(), pid, "block"))
		<-blocked
	}
	_, err := sys.NoSender().Ask(t.Context(), probe.PID(), "turn", 300*time.Millisecond)
	require.ErrorIs(t, err, gerrors.ErrRequestTimeout)
	probe.Empty(t) // it had no turn
	close(open)
	require.Equal(t, "turn", probe.Next(t))
}

// Relied on by everybody who tells: a mailbox takes what comes and Tell does not wait for the actor. What waits is bounded by
// those who send (rooms: bytes; members: windows). If this fails, look at every Tell in a Receive.
func TestGoAktTellDoesNotWaitForTheActor(t *testing.T) {
	t.Parallel()
	sys := startSystem(t)
	open := make(chan struct{})
	handled := make(chan struct{}, 1)
	n := 0
	const messages = 100_000
	pid := spawn(t, sys, "slow", &scripted{receive: func(*actor.ReceiveContext) {
		<-open
		if n++; n == messages {
			handled <- struct{}{}
		}
	}})
	for range messages {
		require.NoError(t, sys.NoSender().Tell(t.Context(), pid, 1))
	}
	close(open)
	select {
	case <-handled:
	case <-time.After(actorkittest.Patience):
		require.Fail(t, "not all messages arrived")
	}
}

// Worked around by SpawnOptions: with GoAkt's own supervisor an actor that reports an error is suspended, silently and for good.
// If this fails, SpawnOptions may no longer need a supervisor of its own.
func TestGoAktSuspendsActorsThatReportErrors(t *testing.T) {
	t.Parallel()
	sys, err := actor.NewActorSystem("suspends", actor.WithLoggingDisabled())
	require.NoError(t, err)
	require.NoError(t, actorkit.StartAlone(func() error { return sys.Start(context.Background()) }))
	t.Cleanup(func() { _ = sys.Stop(context.Background()) })
	pid, err := sys.Spawn(t.Context(), "a", &scripted{receive: func(rctx *actor.ReceiveContext) { rctx.Err(errOops) }}, actor.WithLongLived())
	require.NoError(t, err)
	require.NoError(t, sys.NoSender().Tell(t.Context(), pid, "go"))
	require.Eventually(t, pid.IsSuspended, waitFor, time.Millisecond)
	require.ErrorIs(t, sys.NoSender().Tell(t.Context(), pid, "more"), gerrors.ErrDead)
}

// Worked around by SpawnOptions being called once per spawn: the end of one actor wipes the supervisor it was given, so that
// another one with the same is then suspended instead of stopped. If this fails, supervisors may be shared.
func TestGoAktWipesASharedSupervisor(t *testing.T) {
	t.Parallel()
	sys := startSystem(t)
	shared := supervisor.NewSupervisor(supervisor.WithAnyErrorDirective(supervisor.StopDirective))
	fails := &scripted{receive: func(rctx *actor.ReceiveContext) { rctx.Err(errOops) }}
	first, err := sys.Spawn(t.Context(), "first", &scripted{}, actor.WithLongLived(), actor.WithSupervisor(shared))
	require.NoError(t, err)
	second, err := sys.Spawn(t.Context(), "second", fails, actor.WithLongLived(), actor.WithSupervisor(shared))
	require.NoError(t, err)
	require.NoError(t, first.Shutdown(t.Context()))
	require.NoError(t, sys.NoSender().Tell(t.Context(), second, "go"))
	require.Eventually(t, second.IsSuspended, waitFor, time.Millisecond)
}

// Worked around by SpawnOptions: without WithLongLived, an actor that nobody talks to is stopped after two minutes. If this
// fails, the option may go.
func TestGoAktStopsIdleActors(t *testing.T) {
	t.Parallel()
	sys := startSystem(t)
	stopped := make(chan struct{})
	_, err := sys.Spawn(t.Context(), "idle", &scripted{postStop: func() { close(stopped) }},
		actor.WithPassivationStrategy(passivation.NewTimeBasedStrategy(50*time.Millisecond)))
	require.NoError(t, err)
	select {
	case <-stopped:
	case <-time.After(actorkittest.Patience):
		require.Fail(t, "an idle actor lives on")
	}
	plain, err := sys.Spawn(t.Context(), "plain", &scripted{})
	require.NoError(t, err)
	require.Equal(t, 2*time.Minute, plain.PassivationStrategy().(*passivation.TimeBasedStrategy).Timeout())
	kept := spawn(t, sys, "kept", &scripted{})
	require.IsType(t, &passivation.LongLivedStrategy{}, kept.PassivationStrategy())
}

// Relied on by RoomHost, which frees a room's slot then: who watches an actor of its own system learns of its end, however it
// came, by name. Across systems nothing is promised, which is why rooms are in their host's system.
func TestGoAktTellsWatchersOfAnEnd(t *testing.T) {
	t.Parallel()
	sys := startSystem(t)
	for _, end := range []string{"shutdown", "panic", "error"} {
		watched := spawn(t, sys, "watched-"+end, &scripted{receive: func(rctx *actor.ReceiveContext) {
			switch rctx.Message() {
			case "shutdown":
				rctx.Shutdown()
			case "panic":
				panic("trouble")
			case "error":
				rctx.Err(errOops)
			}
		}})
		ended := make(chan string, 1)
		watcher := spawn(t, sys, "watcher-"+end, &scripted{receive: func(rctx *actor.ReceiveContext) {
			switch m := rctx.Message().(type) {
			case *actor.Terminated:
				ended <- m.ActorPath().Name()
			case string:
				rctx.Watch(watched)
				rctx.Response("watching")
			}
		}})
		_, err := sys.NoSender().Ask(t.Context(), watcher, "watch", waitFor)
		require.NoError(t, err)
		require.NoError(t, sys.NoSender().Tell(t.Context(), watched, end))
		select {
		case name := <-ended:
			require.Equal(t, "watched-"+end, name)
		case <-time.After(actorkittest.Patience):
			require.Fail(t, "not told", end)
		}
	}
}

// Relied on by Persistent, which recovers there, from a task: PreStart runs on the goroutine that spawns, and may take its time.
// If this fails, recoveries block a worker.
func TestGoAktRunsPreStartOnTheSpawningGoroutine(t *testing.T) {
	t.Parallel()
	sys := startSystem(t)
	var stack string
	spawn(t, sys, "starts", &scripted{preStart: func(*actor.Context) error {
		buf := make([]byte, 64<<10)
		stack = string(buf[:runtime.Stack(buf, false)])
		return nil
	}})
	require.Contains(t, stack, "TestGoAktRunsPreStartOnTheSpawningGoroutine")
	require.False(t, strings.Contains(stack, "dispatcher"), stack)
}

// Worked around by names that are never used twice: RoomHost counts activations, and members are numbered. GoAkt frees the name
// of an actor that ended in a system actor of its own, some time later; one that got the name before is not known to it, and
// nobody who watches that one hears of its end. If this fails, a name may be used again at once.
func TestGoAktForgetsAnActorWithTheNameOfOneThatEnded(t *testing.T) {
	t.Parallel()
	frees := &heldLine{line: "/again removing dead actor", reached: make(chan struct{}), goOn: make(chan struct{})}
	sys, err := actor.NewActorSystem("forgets", actor.WithLogger(goaktlog.NewSlogFrom(slog.New(frees), goaktlog.DebugLevel)))
	require.NoError(t, err)
	require.NoError(t, actorkit.StartAlone(func() error { return sys.Start(context.Background()) }))
	t.Cleanup(func() { _ = sys.Stop(context.Background()) })
	first := spawn(t, sys, "again", &scripted{})
	require.NoError(t, first.Shutdown(t.Context()))
	select {
	case <-frees.reached:
	case <-time.After(actorkittest.Patience):
		require.Fail(t, "GoAkt says in other words that it frees a name, or does not")
	}
	second := spawn(t, sys, "again", &scripted{})
	require.True(t, second.IsRunning())
	close(frees.goOn)
	require.Eventually(t, func() bool {
		_, err := sys.ActorOf(t.Context(), "again")
		return err != nil
	}, waitFor, time.Millisecond, "it runs, and GoAkt finds it no more")

	told := make(chan struct{}, 1)
	watcher := spawn(t, sys, "watcher", &scripted{receive: func(rctx *actor.ReceiveContext) {
		switch rctx.Message().(type) {
		case *actor.Terminated:
			told <- struct{}{}
		case string:
			rctx.Watch(second)
			rctx.Response("watching")
		}
	}})
	_, err = sys.NoSender().Ask(t.Context(), watcher, "watch", waitFor)
	require.NoError(t, err)
	require.True(t, second.IsRunning())
	require.NoError(t, second.Shutdown(t.Context()))
	// Shutdown tells watchers before it returns, so that whoever is told has it before this.
	_, err = sys.NoSender().Ask(t.Context(), watcher, "watch", waitFor)
	require.NoError(t, err)
	require.Empty(t, told)
}

// heldLine is a log that keeps whoever writes a certain line first, until it may go on.
type heldLine struct {
	slog.Handler
	line          string
	once          sync.Once
	reached, goOn chan struct{}
}

func (*heldLine) Enabled(context.Context, slog.Level) bool { return true }

func (h *heldLine) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, h.line) {
		h.once.Do(func() {
			close(h.reached)
			<-h.goOn
		})
	}
	return nil
}

func (h *heldLine) WithAttrs([]slog.Attr) slog.Handler { return h }
