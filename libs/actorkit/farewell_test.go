package actorkit_test

import (
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/actorkit"
)

// gossip joins the gossip of a cluster under the name that the engine gives a node.
func gossip(t *testing.T, system string, discovery, registry int) (*memberlist.Memberlist, <-chan memberlist.NodeEvent) {
	t.Helper()
	events := make(chan memberlist.NodeEvent, 64)
	cfg := memberlist.DefaultLANConfig()
	cfg.Name = net.JoinHostPort("127.0.0.1", strconv.Itoa(registry))
	cfg.BindAddr, cfg.BindPort, cfg.AdvertisePort = "127.0.0.1", discovery, discovery
	cfg.Label, cfg.LogOutput, cfg.Events = "prefix-"+system, io.Discard, &memberlist.ChannelEventDelegate{Ch: events}
	list, err := memberlist.Create(cfg)
	require.NoError(t, err)
	return list, events
}

// The others forget a node that was killed when its next life says so, not seconds later; and one that lives on, whoever says that
// it has left, is there again at once.
func TestFarewell(t *testing.T) {
	t.Parallel()
	var ports []int
	for range 4 {
		port, err := actorkit.FreePort("127.0.0.1")
		require.NoError(t, err)
		ports = append(ports, port)
	}
	survivor, events := gossip(t, "farewell", ports[0], ports[1])
	defer func() { require.NoError(t, survivor.Shutdown()) }()
	await := func(what memberlist.NodeEventType, name string) {
		t.Helper()
		for {
			select {
			case e := <-events:
				if e.Event == what && e.Node.Name == name {
					return
				}
			case <-time.After(waitFor):
				require.Fail(t, "no such event", "%v of %s", what, name)
			}
		}
	}
	name, seed := net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[3])), net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))

	killed, _ := gossip(t, "farewell", ports[2], ports[3])
	_, err := killed.Join([]string{seed})
	require.NoError(t, err)
	await(memberlist.NodeJoin, name)
	require.NoError(t, killed.Shutdown()) // without Leave: as a kill does
	require.Equal(t, 2, survivor.NumMembers(), "it cannot know")
	require.NoError(t, actorkit.Farewell(t.Context(), "farewell", "127.0.0.1", ports[2], ports[3], seed, time.Now()))
	require.Equal(t, 1, survivor.NumMembers(), "it is taken in before the call returns")
	await(memberlist.NodeLeave, name)

	next, _ := gossip(t, "farewell", ports[2], ports[3])
	defer func() { require.NoError(t, next.Shutdown()) }()
	_, err = next.Join([]string{seed})
	require.NoError(t, err)
	await(memberlist.NodeJoin, name)

	require.NoError(t, actorkit.Farewell(t.Context(), "farewell", "127.0.0.1", ports[2], ports[3], seed, time.Now().Add(time.Second)))
	await(memberlist.NodeLeave, name)
	await(memberlist.NodeJoin, name)

	require.Error(t, actorkit.Farewell(t.Context(), "farewell", "127.0.0.1", ports[2], ports[3], net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[1])), time.Now()), "nobody is there")
}
