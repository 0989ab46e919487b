package actorkit_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/memory"
)

// counter is a Handler that only counts, and signals every burst of frames.
type counter struct {
	frames atomic.Int64
	burst  int64
	done   chan struct{}
}

func (c *counter) HandleFrame(actorkit.Peer, actorkit.Frame) {
	if c.frames.Add(1)%c.burst == 0 {
		c.done <- struct{}{}
	}
}

func (c *counter) HandleLink(actorkit.LinkEvent) {}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLink sends bursts of frames, up to four ahead, between two nodes in one process; CPU is that of both.
func BenchmarkLink(b *testing.B) {
	for _, size := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			const ahead = 4
			burst := min(1000, 1<<20/size)
			c := &counter{burst: int64(burst), done: make(chan struct{}, ahead)}
			from, to := actorkittest.StartNode(b, "a", &counter{burst: 1}), actorkittest.StartNode(b, "b", c)
			actorkittest.Mesh(b, from, to)
			f := actorkit.Frame{Body: make([]byte, size)}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			before := cpu()
			b.ResetTimer()
			bursts := (b.N + burst - 1) / burst
			for i := range bursts {
				for range burst {
					require.NoError(b, from.Send("b", f))
				}
				if i >= ahead {
					<-c.done
				}
			}
			for range min(bursts, ahead) {
				<-c.done
			}
			b.ReportMetric(float64(cpu()-before)/float64(bursts*burst), "cpu-ns/op")
		})
	}
}

// BenchmarkLinkRoundTrip is one frame there and one back at a time: the latency of an idle pair.
func BenchmarkLinkRoundTrip(b *testing.B) {
	echo := &echoer{}
	c := &counter{burst: 1, done: make(chan struct{}, 1)}
	from, to := actorkittest.StartNode(b, "a", c), actorkittest.StartNode(b, "b", echo)
	echo.node.Store(to)
	actorkittest.Mesh(b, from, to)
	f := actorkit.Frame{Body: make([]byte, 100)}
	before := cpu()
	b.ResetTimer()
	for range b.N {
		require.NoError(b, from.Send("b", f))
		<-c.done
	}
	b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
}

type echoer struct{ node atomic.Pointer[actorkit.Node] }

func (e *echoer) HandleFrame(from actorkit.Peer, f actorkit.Frame) {
	_ = e.node.Load().Send(from.Node, f)
}

func (e *echoer) HandleLink(actorkit.LinkEvent) {}

// tally is the cheapest behavior: what is measured is Persistent.
type tally struct{ event []persistence.Event }

func (*tally) Zero(persistence.Claim) int                                   { return 0 }
func (*tally) Apply(s int, _ persistence.Event) (int, error)                { return s + 1, nil }
func (t *tally) Draft(int) actorkit.Draft[int, int]                         { return t }
func (*tally) Snapshot(int) (persistence.Snapshot, error)                   { return persistence.Snapshot{}, nil }
func (*tally) Restore(persistence.Claim, persistence.Snapshot) (int, error) { return 0, nil }
func (t *tally) Decide(cmd int, _ uint64, _ time.Time) ([]persistence.Event, int) {
	return t.event, cmd
}

type tallier struct {
	p    *actorkit.Persistent[int, int, int]
	done chan int
}

func (a *tallier) PreStart(ctx *actor.Context) error { return a.p.Recover(ctx.Context()) }

func (a *tallier) Receive(rctx *actor.ReceiveContext) {
	if a.p.Receive(rctx) {
		return
	}
	if n, ok := rctx.Message().(int); ok {
		if err := a.p.Submit(rctx, n, 100); err != nil {
			panic(err)
		}
	}
}

func (a *tallier) PostStop(ctx *actor.Context) error { return a.p.Stop(ctx.Context()) }

// nowhere is a journal that keeps nothing.
type nowhere struct{ persistence.Journal }

func (nowhere) Append(_ context.Context, _ persistence.Claim, expected uint64, events []persistence.Event) (uint64, error) {
	return expected + uint64(len(events)), nil
}

func (nowhere) SaveSnapshot(context.Context, persistence.Claim, persistence.Snapshot) error {
	return nil
}

// BenchmarkPersistent keeps 64 commands outstanding in one stream whose journal costs nothing.
func BenchmarkPersistent(b *testing.B) {
	const window = 64
	a := &tallier{done: make(chan int, window)}
	a.p = actorkit.NewPersistent(
		actorkit.PersistentConfig{Key: "bench/1", Owner: "o", Journal: nowhere{memory.New(memory.Options{})}, SnapshotEvery: 1 << 40},
		actorkit.Behavior[int, int, int](&tally{event: []persistence.Event{{Manifest: "m", Payload: make([]byte, 100)}}}),
		actorkit.PersistentHandler[int, int]{Committed: func(_ *actor.ReceiveContext, batch []actorkit.Decided[int, int]) {
			for range batch {
				a.done <- 1
			}
		}})
	sys := startSystem(b)
	pid, err := sys.Spawn(b.Context(), "tallier", a, actorkit.SpawnOptions()...)
	require.NoError(b, err)
	b.ReportAllocs()
	before := cpu()
	b.ResetTimer()
	for i := range b.N {
		if i >= window {
			<-a.done
		}
		require.NoError(b, sys.NoSender().Tell(b.Context(), pid, i))
	}
	for range min(b.N, window) {
		<-a.done
	}
	b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
}
