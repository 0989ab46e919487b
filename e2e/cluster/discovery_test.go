package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/sdk/go"
)

// Nodes that are told nothing of each other find each other on the NATS server of the control plane. S1–S5: a client publishes
// while a rooms node is killed, which finds the others again.
func TestNodesFindEachOtherByNATS(t *testing.T) {
	postgres, nats := harness.StartCluster(t), harness.NewNATS(t)
	nats.Start()
	harness.Migrate(t, postgres.URL())
	d := &harness.Deployment{JournalURL: postgres.URL(), ControlPlaneURL: nats.URL()}
	found := []string{"PARLEY_DISCOVERY=nats", "PARLEY_CLUSTER_QUORUM=2"}
	gateways, rooms := d.NewNodes(t, harness.Gateway, 2, found...), d.NewNodes(t, harness.Rooms, 3, found...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, n := range append(append([]*harness.Node(nil), rooms...), gateways...) {
		n.Start()
	}
	for _, n := range append(append([]*harness.Node(nil), rooms...), gateways...) {
		require.NoError(t, n.AwaitReady(ctx))
	}
	publishThrough(ctx, t, gateways, rooms, func(owner *harness.Node) {
		owner.Kill9()
		pause(t, 3*time.Second)
		owner.Start()
		require.NoError(t, owner.AwaitReady(ctx))
	})
}

// The same with a name that stands for all nodes of a service. The killed node comes back at another address, as a pod does.
func TestNodesFindEachOtherByDNS(t *testing.T) {
	const roomsName, gatewaysName = "rooms-headless.chat.test", "gateways-headless.chat.test"
	server := startDNS(t)
	resolver := filepath.Join(t.TempDir(), "resolv.conf")
	require.NoError(t, os.WriteFile(resolver, []byte("nameserver "+dnsAddress+"\n"), 0o600))
	postgres, nats := harness.StartCluster(t), harness.NewNATS(t)
	nats.Start()
	harness.Migrate(t, postgres.URL())
	d := &harness.Deployment{JournalURL: postgres.URL(), ControlPlaneURL: nats.URL(), Resolver: resolver}
	port := samePort(t)
	named := func(name string) []string {
		return []string{
			"PARLEY_DISCOVERY=dns", "PARLEY_SEEDS=" + net.JoinHostPort(name, port), "PARLEY_CLUSTER_QUORUM=2",
			"PARLEY_DISCOVERY_PORT=" + port,
		}
	}
	gateways, rooms := d.NewNodes(t, harness.Gateway, 2, named(gatewaysName)...), d.NewNodes(t, harness.Rooms, 3, named(roomsName)...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	at := func(n *harness.Node, host string) { n.StartWith("PARLEY_ADVERTISE_HOST=" + host) }

	// No name is known while the first nodes start.
	for i, n := range rooms {
		at(n, hosts[i])
	}
	for i, n := range gateways {
		at(n, hosts[3+i])
	}
	server.say(roomsName, hosts[:3]...)
	server.say(gatewaysName, hosts[3:5]...)
	for _, n := range append(append([]*harness.Node(nil), rooms...), gateways...) {
		require.NoError(t, n.AwaitReady(ctx))
	}
	publishThrough(ctx, t, gateways, rooms, func(owner *harness.Node) {
		left := slices.Clone(hosts[:3])
		left = slices.Delete(left, slices.Index(rooms, owner), slices.Index(rooms, owner)+1)
		owner.Kill9()
		server.say(roomsName, left...)
		pause(t, 3*time.Second)
		at(owner, hosts[5])
		server.say(roomsName, append(left, hosts[5])...)
		require.NoError(t, owner.AwaitReady(ctx))
	})
}

// publishThrough publishes to several rooms while something happens to the node that runs one of them: everything is
// acknowledged, and read once, in order.
func publishThrough(ctx context.Context, t *testing.T, gateways, rooms []*harness.Node, happens func(owner *harness.Node)) {
	t.Helper()
	client, err := parley.Dial(ctx, gateways[0].WebSocket()+","+gateways[1].WebSocket(), parley.Config{})
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Close(context.WithoutCancel(ctx))) }()
	var joined []*parley.Room
	for r := range 9 { // so that every node has some, most likely
		room, err := client.Join(ctx, fmt.Sprintf("found-%d", r), parley.JoinOptions{Buffer: 1 << 13})
		require.NoError(t, err)
		joined = append(joined, room)
	}
	quit := make(chan struct{})
	said, longest := make([]int, len(joined)), make([]time.Duration, len(joined))
	problems := make([]error, len(joined))
	var publishing sync.WaitGroup
	for r, room := range joined {
		publishing.Go(func() {
			for {
				select {
				case <-quit:
					return
				case <-time.After(50 * time.Millisecond):
				}
				began := time.Now()
				if _, problems[r] = room.Publish(ctx, strconv.Itoa(said[r]), parley.PublishOptions{}); problems[r] != nil {
					return
				}
				said[r]++
				longest[r] = max(longest[r], time.Since(began))
			}
		})
	}
	pause(t, time.Second)
	happens(ownerOf(ctx, t, rooms, joined[0].ID()))
	pause(t, time.Second)
	close(quit)
	publishing.Wait()
	for r, room := range joined {
		require.NoError(t, problems[r], "S1 in %s", room.ID())
		require.Positive(t, said[r])
		n, last := 0, uint64(0)
		for message, err := range room.Messages(ctx) {
			require.NoError(t, err)
			require.Equal(t, strconv.Itoa(n), message.Content, "S1, S3, S4 in %s", room.ID())
			if n > 0 {
				require.Equal(t, last, message.PrevSeq, "S5 in %s", room.ID())
			}
			last = message.Seq
			if n++; n == said[r] {
				break
			}
		}
	}
	t.Logf("published to each room %v, longest wait %v", said, longest)
}

// ownerOf asks for the node that runs a room.
func ownerOf(ctx context.Context, t *testing.T, rooms []*harness.Node, room string) *harness.Node {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, rooms[0].URL()+"/parley.admin.v1.RoomService/GetRoom",
		strings.NewReader(fmt.Sprintf(`{"room_id":%q}`, room)))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { require.NoError(t, res.Body.Close()) }()
	var answer struct {
		Room struct {
			Node string `json:"node"`
		} `json:"room"`
	}
	require.NoError(t, json.NewDecoder(res.Body).Decode(&answer))
	i := slices.IndexFunc(rooms, func(n *harness.Node) bool { return n.Name == answer.Room.Node })
	require.GreaterOrEqual(t, i, 0, "%s runs at %q", room, answer.Room.Node)
	return rooms[i]
}
