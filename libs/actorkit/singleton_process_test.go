package actorkit_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
	"github.com/parley-rt/parley/libs/persistence/open"
	"github.com/parley-rt/parley/libs/persistence/persistencetest/pgtest"
)

const (
	// replaced is what a singleton promises of a holder that was killed or frozen, and a second for the machine.
	replaced = 3*time.Second + time.Second
	// handedOver is what it needs at most when the holder stops, and a second.
	handedOver = 300*time.Millisecond + time.Second
)

// rivalConfig is a node that competes for a lease, in a process of its own: this test binary, run again.
type rivalConfig struct{ Node, URL string }

const rivalVariable = "ACTORKIT_TEST_RIVAL"

// runRival says on standard output when its actor has written for the first time in a term, when the term is over and the actor is told to stop. It ends with its standard input.
func runRival(text string) error {
	var c rivalConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	ctx := context.Background()
	journal, err := open.Open(ctx, c.URL, open.Options{})
	if err != nil {
		return err
	}
	sys, err := actorkit.StartLocal(ctx, c.Node, nil)
	if err != nil {
		return err
	}
	s, err := actorkit.StartSingleton(ctx, actorkit.SingletonConfig{Name: "book", Node: c.Node}, journal, sys, func(term *actorkit.Term) actor.Actor {
		context.AfterFunc(term.Context(), func() { fmt.Println("over:", term.Epoch(), context.Cause(term.Context())) })
		return &talker{&clerk{node: c.Node, term: term, journal: journal, terms: make(chan *clerk, 1), stopped: make(chan struct{})}}
	})
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	stop, done := context.WithTimeout(ctx, actorkittest.Patience)
	defer done()
	if err := s.Stop(stop); err != nil {
		return err
	}
	if err := sys.Stop(stop); err != nil {
		return err
	}
	return journal.Close(stop)
}

type talker struct{ *clerk }

func (a *talker) PreStart(ctx *actor.Context) error {
	a.pace = 20 * time.Millisecond // there are other tests beside this one
	a.wrote = func() { fmt.Println("wrote:", a.term.Epoch()) }
	return a.clerk.PreStart(ctx)
}

func (a *talker) PostStop(ctx *actor.Context) error {
	fmt.Println("stopping:", a.term.Epoch())
	err := a.clerk.PostStop(ctx)
	fmt.Println("stopped:", a.term.Epoch(), a.writeErr)
	return err
}

// club is several rivals as processes.
type club struct {
	t     *testing.T
	url   string
	procs map[string]*process
	said  chan saying
}

type saying struct{ node, line string }

func (c *club) start(node string) {
	p := startChild(c.t, node, rivalVariable, rivalConfig{Node: node, URL: c.url})
	c.procs[node] = p
	go func() {
		for line := range p.lines {
			c.said <- saying{node, line}
		}
	}()
}

// expect waits until somebody says something, not longer than within, and returns who, and how long it took.
func (c *club) expect(prefix string, within time.Duration, nodes ...string) (string, time.Duration) {
	c.t.Helper()
	began, deadline := time.Now(), time.After(within)
	for {
		select {
		case s := <-c.said:
			c.t.Logf("%5dms %s %s", time.Since(began).Milliseconds(), s.node, s.line)
			if !strings.HasPrefix(s.line, prefix) {
				continue
			}
			require.Contains(c.t, nodes, s.node, s.line)
			return s.node, time.Since(began)
		case <-deadline:
			require.Fail(c.t, "not said in time", "%q by %q within %v", prefix, nodes, within)
		}
	}
}

func (c *club) signal(node string, s syscall.Signal) {
	c.t.Helper()
	require.NoError(c.t, syscall.Kill(c.procs[node].pid, s))
}

// others are the nodes without one.
func others(node string) (all []string) {
	for _, n := range []string{"a", "b", "c"} {
		if n != node {
			all = append(all, n)
		}
	}
	return all
}

// Three processes compete while the holder is killed, frozen, cut off from the journal and stopped: it is replaced in time, stops
// by its own clock, and nothing that it writes comes after what its successor wrote.
func TestSingletonOfProcesses(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Start(t, pgtest.Options{})
	url := cluster.SchemaURL(t)
	journal, err := open.Open(t.Context(), url, open.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, journal.Close(context.Background())) })
	c := &club{t: t, url: url, procs: map[string]*process{}, said: make(chan saying, 1000)}
	for _, node := range others("") {
		c.start(node)
	}
	holder, _ := c.expect("wrote:", actorkittest.Patience, others("")...)

	for range 2 {
		c.signal(holder, syscall.SIGKILL)
		next, took := c.expect("wrote:", replaced, others(holder)...)
		t.Logf("replaced %v after kill -9", took)
		c.start(holder)
		holder = next
	}

	c.signal(holder, syscall.SIGSTOP)
	next, took := c.expect("wrote:", replaced, others(holder)...)
	t.Logf("replaced %v after a freeze", took)
	c.signal(holder, syscall.SIGCONT)
	c.expect("stopped:", actorkittest.Patience, holder)
	holder = next

	// The journal is away: the holder stops within its lease.
	require.NoError(t, cluster.Pause())
	_, took = c.expect("stopping:", replaced, holder)
	t.Logf("stopped %v after the journal froze", took)
	require.NoError(t, cluster.Resume())
	holder, _ = c.expect("wrote:", actorkittest.Patience, others("")...)

	c.procs[holder].stop()
	next, took = c.expect("wrote:", actorkittest.Patience, others(holder)...)
	t.Logf("replaced %v after a stop", took)
	require.Less(t, took, handedOver)

	require.NotEqual(t, holder, next)
	require.GreaterOrEqual(t, inOrder(t, journal), 6)
}
