package actorkit_test

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
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
