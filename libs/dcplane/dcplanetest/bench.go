package dcplanetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/dcplane"
)

// lease is long enough that a busy machine still renews in time and short enough for a test.
const lease = 2 * time.Second

// patience is how long a test waits for what must happen before it calls it missing. Only failures take this long.
const patience = 30 * time.Second

// timing is what most tests use. RefreshEvery is out of reach, so that watches and leases must do the work.
var timing = Timing{Lease: lease, RefreshEvery: time.Minute, MaxCacheStaleness: 2 * lease}

// calm is for tests that wait for no lease: one so long that a machine which stands still for seconds changes nothing.
var calm = Timing{Lease: 4 * lease, RefreshEvery: time.Minute, MaxCacheStaleness: time.Minute}

type bench struct {
	t     *testing.T
	plane Plane
}

// openCalm is open for tests that wait for no lease.
func (b *bench) openCalm() dcplane.Directory {
	b.t.Helper()
	return b.openWith(calm)
}

// tries is how often something is measured that must be fast. The best time counts: a busy machine can spoil some.
const tries = 5

func (b *bench) open() dcplane.Directory {
	b.t.Helper()
	return b.openWith(timing)
}

// openWith waits until the directory is complete.
func (b *bench) openWith(timing Timing) dcplane.Directory {
	b.t.Helper()
	d := b.plane.Open(b.t, timing)
	require.NoError(b.t, dcplane.AwaitReady(b.ctx(), d))
	return d
}

// ctx bounds one call.
func (b *bench) ctx() context.Context {
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	b.t.Cleanup(cancel)
	return ctx
}

// node is a valid node; its incarnation is "<name>#1".
func node(name string) dcplane.Node {
	return dcplane.Node{
		Service: "rooms", DC: "dc-a", Region: "eu", Name: name, Incarnation: name + "#1",
		Host: "10.0.0.1", RemotingPort: 4001, State: dcplane.StateReady, Load: 0.25, Version: "v1.2.3",
	}
}

func (b *bench) register(d dcplane.Directory, n dcplane.Node) dcplane.Registration {
	b.t.Helper()
	r, err := d.Register(b.ctx(), n)
	require.NoError(b.t, err)
	return r
}

// await waits, woken by Changed only, until ok holds of d.
func (b *bench) await(d dcplane.Directory, what string, ok func() bool) {
	b.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		changed := d.Changed()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			require.FailNow(b.t, "never happened: "+what, "nodes: %s", describe(d))
		}
	}
}

// awaitNode waits until d shows exactly n.
func (b *bench) awaitNode(d dcplane.Directory, n dcplane.Node) {
	b.t.Helper()
	b.await(d, fmt.Sprintf("node %q %s as registered", n.Name, n.Incarnation), func() bool {
		got, ok := d.Lookup(n.DC, n.Service, n.Name)
		return ok && got == n
	})
}

// awaitGone waits until d does not show the node.
func (b *bench) awaitGone(d dcplane.Directory, n dcplane.Node) {
	b.t.Helper()
	b.await(d, fmt.Sprintf("node %q gone", n.Name), func() bool {
		_, ok := d.Lookup(n.DC, n.Service, n.Name)
		return !ok
	})
}

// watchFor fails the test when one of nodes leaves d before end is called.
func (b *bench) watchFor(d dcplane.Directory, nodes ...dcplane.Node) (end func()) {
	stop, done := make(chan struct{}), make(chan []string)
	go func() {
		var missing []string
		for {
			changed := d.Changed()
			for _, n := range nodes {
				if _, ok := d.Lookup(n.DC, n.Service, n.Name); !ok {
					missing = append(missing, n.Name)
				}
			}
			select {
			case <-changed:
			case <-stop:
				done <- missing
				return
			}
		}
	}()
	return func() {
		b.t.Helper()
		close(stop)
		require.Empty(b.t, <-done, "nodes were removed that must stay")
	}
}

func describe(d dcplane.Directory) string {
	return fmt.Sprintf("%v, age %v, ready %v", d.Nodes("dc-a", "rooms"), d.Age(), d.Ready())
}
