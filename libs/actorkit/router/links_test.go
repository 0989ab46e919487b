package router_test

import (
	"context"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
	"github.com/parley-rt/parley/libs/actorkit/router"
)

// asker asks other nodes by frames with a number, which the answer repeats.
type asker struct {
	node *actorkit.Node
	mu   sync.Mutex
	last uint64
	open map[uint64]chan string
}

func (a *asker) HandleFrame(_ actorkit.Peer, f actorkit.Frame) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if answer, ok := a.open[binary.BigEndian.Uint64(f.Body)]; ok {
		answer <- string(f.Body[8:])
		delete(a.open, binary.BigEndian.Uint64(f.Body))
	}
}

func (*asker) HandleLink(actorkit.LinkEvent) {}

// peer is another node as a routee.
func (a *asker) peer(node string) member {
	return member{Name: node, Routee: fn(func(ctx context.Context, msg string) (string, error) {
		answer := make(chan string, 1)
		a.mu.Lock()
		a.last++
		number := a.last
		a.open[number] = answer
		a.mu.Unlock()
		defer func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			delete(a.open, number)
		}()
		if err := a.node.Send(node, actorkit.Frame{Body: append(binary.BigEndian.AppendUint64(nil, number), msg...)}); err != nil {
			return "", err
		}
		select {
		case got := <-answer:
			return got, nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	})}
}

// startPeer runs a node that answers with its name, unless it is told to be silent.
func startPeer(t *testing.T, name string, silent bool) *actorkit.Node {
	t.Helper()
	handler := new(actorkittest.Recorder)
	var node *actorkit.Node
	var started sync.WaitGroup
	started.Add(1)
	handler.OnFrame(func(f actorkittest.Received) {
		started.Wait()
		if !silent {
			_ = node.Send(f.From.Node, actorkit.Frame{Body: append(f.Frame.Body[:8:8], name...)}) // the asker waits in vain
		}
	})
	node = actorkittest.StartNode(t, name, handler)
	started.Done()
	return node
}

// Other nodes are routees like any others: one that is silent is passed after the interval, one that is gone at once.
func TestRoutingToOtherNodes(t *testing.T) {
	t.Parallel()
	a := &asker{open: map[uint64]chan string{}}
	a.node = actorkittest.StartNode(t, "asker", a)
	silent, gone, well := startPeer(t, "silent", true), startPeer(t, "gone", false), startPeer(t, "well", false)
	actorkittest.Mesh(t, a.node, silent, gone, well)
	peers := []member{a.peer("silent"), a.peer("gone"), a.peer("well")}
	const interval = 100 * time.Millisecond
	chop := newRouter(t, router.Config[string]{Strategy: router.TailChopping, Within: waitFor, Interval: interval, InOrder: true}, peers...)
	began := time.Now()
	require.Equal(t, "gone", ask(t, chop, "who"))
	require.GreaterOrEqual(t, time.Since(began), interval)

	actorkittest.StopNode(t, gone)
	require.Eventually(t, func() bool { s, _ := a.node.Link("gone"); return s.Down }, waitFor, tick)
	require.Equal(t, "well", ask(t, chop, "who"))
	scatter := newRouter(t, router.Config[string]{Strategy: router.ScatterGatherFirst, Within: waitFor}, peers...)
	require.Equal(t, "well", ask(t, scatter, "who"))
	short := newRouter(t, router.Config[string]{Strategy: router.ScatterGatherFirst, Within: interval}, peers[:2]...)
	_, err := short.Ask(t.Context(), "who")
	require.ErrorIs(t, err, router.ErrTimeout)
	for _, r := range []*router.Router[string, string]{chop, scatter, short} {
		require.NoError(t, r.Close(t.Context()))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	require.Empty(t, a.open, "who gives up forgets the question")
}
