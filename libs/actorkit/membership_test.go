package actorkit_test

import (
	"context"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
)

// blindFinder finds nobody until it is told to.
type blindFinder struct {
	actorkit.Finder
	sees atomic.Bool
}

func (f *blindFinder) Find(ctx context.Context) ([]string, error) {
	if !f.sees.Load() {
		return nil, nil
	}
	return f.Finder.Find(ctx)
}

// Two nodes that came up apart and do not find together: one of them goes, to come again, and the other stays.
func TestAStrayedNodeSaysSo(t *testing.T) {
	t.Parallel()
	port := samePort(t)
	var seeds []string
	for _, host := range hosts[:2] {
		seeds = append(seeds, net.JoinHostPort(host, strconv.Itoa(port)))
	}
	finder := &blindFinder{Finder: actorkit.SeedFinder(seeds, nil)}
	var nodes []*actorkit.Node
	for i, host := range hosts[:2] {
		nodes = append(nodes, actorkittest.StartNode(t, "stray"+strconv.Itoa(i), new(actorkittest.Recorder), func(c *actorkit.NodeConfig) {
			c.System, c.Host, c.DiscoveryPort, c.Finder = "stray", host, port, finder
		}))
	}
	finder.sees.Store(true)

	const patience = time.Second
	var fresh atomic.Bool
	listed := func() ([]string, bool) { return hosts[:2], fresh.Load() }
	ctx, cancel := context.WithCancel(t.Context())
	stays := make(chan error, 1)
	go func() { stays <- nodes[0].Watch(ctx, patience, listed) }()
	doubted := make(chan error, 1)
	doubt, stop := context.WithTimeout(ctx, 3*patience)
	defer stop()
	go func() { doubted <- nodes[1].Watch(doubt, patience, listed) }()
	require.NoError(t, <-doubted, "without a directory nothing is known")

	fresh.Store(true)
	var strayed *actorkit.StrayedError
	require.ErrorAs(t, nodes[1].Watch(ctx, patience, listed), &strayed)
	require.Equal(t, []string{seeds[0]}, strayed.Missing)
	require.Equal(t, []string{seeds[1]}, strayed.Members)
	require.GreaterOrEqual(t, strayed.For, patience)

	// Its next life finds the other.
	actorkittest.StopNode(t, nodes[1])
	again := actorkittest.StartNode(t, "stray1", new(actorkittest.Recorder), func(c *actorkit.NodeConfig) {
		c.System, c.Host, c.DiscoveryPort, c.Finder = "stray", hosts[1], port, finder
	})
	actorkittest.WaitMembers(t, nodes[0], again)
	cancel()
	require.NoError(t, <-stays)
}

// However a cluster falls apart, not everybody goes, and a majority never does.
func TestOutnumbered(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 7).Draw(t, "nodes")
		sides := map[int][]string{}
		var all []string
		for i := range n {
			addr := "10.0.0." + strconv.Itoa(i+1) + ":1"
			side := rapid.IntRange(0, 3).Draw(t, "side")
			sides[side] = append(sides[side], addr)
			all = append(all, addr)
		}
		gone := 0
		for _, members := range sides {
			var missing []string
			for _, addr := range all {
				if !contains(members, addr) {
					missing = append(missing, addr)
				}
			}
			for _, self := range members {
				goes := actorkit.Outnumbered(self, members, missing)
				if goes {
					gone++
				}
				if len(members) > n/2 && goes {
					t.Fatalf("%s leaves a majority %v of %v", self, members, all)
				}
				if len(members) <= n/2 && !contains(members, all[0]) && !goes {
					t.Fatalf("%s stays apart in %v of %v", self, members, all)
				}
			}
		}
		if gone == n {
			t.Fatalf("all of %v went: %v", all, sides)
		}
	})
}

func contains(list []string, one string) bool {
	for _, s := range list {
		if s == one {
			return true
		}
	}
	return false
}
