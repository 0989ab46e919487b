package actorkit_test

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
)

// Avoided by keeping what comes and goes out of the clustered system, whose only actor is the door: GoAkt stops the whole system
// when it cannot take an actor that has stopped out of the cluster's registry, here because the other member has left and the rest
// is below the quorum. If this fails, Links could be actors.
func TestGoAktStopsTheSystemWhoseRegistryForgetsNobody(t *testing.T) {
	t.Parallel()
	port := samePort(t)
	seeds := []string{net.JoinHostPort(hosts[0], strconv.Itoa(port)), net.JoinHostPort(hosts[1], strconv.Itoa(port))}
	var nodes []*actorkit.Node
	for i, quorum := range []int{1, 2} {
		nodes = append(nodes, actorkittest.StartNode(t, "registry"+strconv.Itoa(i), new(actorkittest.Recorder), func(c *actorkit.NodeConfig) {
			c.System, c.Host, c.DiscoveryPort, c.Seeds, c.Quorum = "registry", hosts[i], port, seeds, quorum
		}))
	}
	actorkittest.WaitMembers(t, nodes...)
	sys := nodes[1].System()
	// Each node keeps a part of the names.
	var actors []*actor.PID
	for i := range 40 {
		actors = append(actors, spawn(t, sys, "registered"+strconv.Itoa(i), new(scripted)))
	}
	for _, pid := range actors[:20] {
		require.NoError(t, pid.Shutdown(t.Context()))
	}
	require.True(t, sys.Running(), "actors may stop as long as the registry can be written")

	require.NoError(t, nodes[0].Stop(t.Context()))
	require.Eventually(t, func() bool {
		members, err := nodes[1].Members(t.Context())
		return err == nil && len(members) == 1
	}, waitFor, 10*time.Millisecond)
	require.True(t, sys.Running())
	for _, pid := range actors[20:] {
		if !sys.Running() {
			break
		}
		_ = pid.Shutdown(t.Context()) // The system may be stopping.
	}
	require.Eventually(t, func() bool { return !sys.Running() }, waitFor, 10*time.Millisecond)
}
