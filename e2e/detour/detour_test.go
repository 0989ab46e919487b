// Package detour shows that two nodes which do not reach each other go on over a third one: gateways and rooms nodes as separate
// processes in network namespaces, on Postgres and NATS. It takes root.
package detour

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/e2e/network"
	"github.com/parley-rt/parley/e2e/wire"
)

const (
	// patience bounds every wait that no promise is about, on a machine that builds and tests other things at the same time.
	patience = 2 * time.Minute
	// budget is how long a room may take no publish when its node is not reached.
	budget = 10 * time.Second
	// askAgain is how long a client waits after a refusal.
	askAgain = 100 * time.Millisecond
)

// While a gateway is cut from a rooms node that lives, in one direction or both, its clients go on in the rooms of that node: what
// they publish is acknowledged (L3) and what others publish reaches them (L2) within the budget, and nothing is lost, doubled or out
// of order (S1, S3, S5). The node keeps its rooms. When the wire is whole again, so is the way.
func TestGatewayGoesAroundACutWire(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	near, far, cut := d.gateways[0], d.gateways[1], d.rooms[0]
	var guests []*guest
	for i := range 16 {
		room := fmt.Sprint("room-", i)
		guests = append(guests, &guest{room: room, near: enter(t, near, room), far: enter(t, far, room)})
	}
	publish(t, guests, func(g *guest) *client { return g.near }, "hello")
	owners := d.owners(t)
	var affected []*guest
	for _, g := range guests {
		if owners[g.room] == cut.Name {
			affected = append(affected, g)
		}
	}
	require.NotEmpty(t, affected, "%s has none of the rooms: %v", cut.Name, owners)

	for _, wires := range [][]network.Cut{
		{{From: near.Host(), To: cut.Host()}, {From: cut.Host(), To: near.Host()}},
		{{From: near.Host(), To: cut.Host()}},
		{{From: cut.Host(), To: near.Host()}},
		{{From: near.Host(), To: cut.Host(), Refuse: true}},
	} {
		var names []string
		var heals []func() error
		for _, wire := range wires {
			heal, err := d.network.Cut(wire)
			require.NoError(t, err)
			heals = append(heals, heal)
			names = append(names, wire.String())
		}
		name := strings.Join(names, ", ")
		began := time.Now()
		acknowledged := publish(t, affected, func(g *guest) *client { return g.near }, name+" near")
		t.Logf("%s: %d rooms acknowledged after %v to %v, median %v", name, len(acknowledged), acknowledged[0],
			acknowledged[len(acknowledged)-1], acknowledged[len(acknowledged)/2])
		require.Less(t, time.Since(began), budget, "L3: %s", name)
		began = time.Now()
		publish(t, affected, func(g *guest) *client { return g.far }, name+" far")
		for _, g := range affected {
			g.near.Await("message", func(f wire.Frame) bool { return f.String("content") == name+" far" })
		}
		t.Logf("%s: what others published then came within %v", name, time.Since(began))
		require.Less(t, time.Since(began), budget, "L2: %s", name)
		require.Equal(t, owners, d.owners(t), "a node that lives is not robbed")
		for _, heal := range heals {
			require.NoError(t, heal())
		}
		d.awaitDirect(t, near, cut)
	}
	for _, g := range guests {
		g.verify(t)
	}
}

// datacenter is what the test has.
type datacenter struct {
	network         *network.Network
	postgres        *harness.Cluster
	gateways, rooms []*harness.Node
}

func deploy(t *testing.T) *datacenter {
	t.Helper()
	wires, err := network.New()
	require.NoError(t, err, "run this test as root")
	t.Cleanup(func() { require.NoError(t, wires.Close()) })
	host := func(name string) *network.Host {
		h, err := wires.Host(name)
		require.NoError(t, err)
		return h
	}
	d := &datacenter{network: wires, postgres: harness.StartClusterOn(t, host("postgres"))}
	harness.Migrate(t, d.postgres.URL())
	nats := harness.NewNATSOn(t, host("nats"))
	nats.Start()
	nodes := &harness.Deployment{JournalURL: d.postgres.URL(), ControlPlaneURL: nats.URL(), Network: wires}
	d.gateways, d.rooms = nodes.NewNodes(t, harness.Gateway, 2), nodes.NewNodes(t, harness.Rooms, 2)
	all := slices.Concat(d.rooms, d.gateways)
	for _, n := range all {
		n.Start()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, n := range all {
		require.NoError(t, n.AwaitReady(ctx))
	}
	return d
}

// owners says which node writes each room.
func (d *datacenter) owners(t *testing.T) map[string]string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), d.postgres.URL())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(t.Context())) }()
	rows, err := conn.Query(t.Context(), "SELECT stream_key, owner FROM journal_stream WHERE starts_with(stream_key, 'room/')")
	require.NoError(t, err)
	owners := make(map[string]string)
	var key, owner string
	_, err = pgx.ForEachRow(rows, []any{&key, &owner}, func() error {
		owners[strings.TrimPrefix(key, "room/")] = owner
		return nil
	})
	require.NoError(t, err)
	return owners
}

// awaitDirect waits until two nodes have said as often that they go directly again as that they go around.
func (d *datacenter) awaitDirect(t *testing.T, a, b *harness.Node) {
	t.Helper()
	for _, way := range [][2]*harness.Node{{a, b}, {b, a}} {
		require.Eventually(t, func() bool {
			around, direct := 0, 0
			for line := range strings.Lines(way[0].Log()) {
				if !strings.Contains(line, `"peer":"`+way[1].Name+`"`) {
					continue
				}
				if strings.Contains(line, `"link goes around"`) {
					around++
				}
				if strings.Contains(line, `"link goes directly again"`) {
					direct++
				}
			}
			return around > 0 && around == direct
		}, patience, 20*time.Millisecond, "%s goes to %s directly again", way[0].Name, way[1].Name)
	}
}

// guest is somebody in a room, at both gateways.
type guest struct {
	room      string
	near, far *client
	acked     []string
}

type client struct {
	*wire.Conn
	cursor uint64 // when it joined
	looked int    // frames that publish has looked at
}

func enter(t *testing.T, gateway *harness.Node, room string) *client {
	t.Helper()
	c := &client{Conn: wire.MustDial(t, gateway.WebSocket())}
	c.Sendf(`{"join_room":{"room_id":%q}}`, room)
	c.cursor = c.Expect("room_joined").Uint("seq")
	return c
}

// publish publishes in all rooms at once, again whatever is refused for now, and returns how long each took to be acknowledged, in
// order of size.
func publish(t *testing.T, guests []*guest, from func(*guest) *client, content string) []time.Duration {
	t.Helper()
	began := time.Now()
	again := make([]time.Time, len(guests)) // zero: waits for an answer
	done := make([]bool, len(guests))
	for i := range guests {
		again[i] = began
	}
	var took []time.Duration
	for len(took) < len(guests) {
		require.Less(t, time.Since(began), patience, "%d of %d rooms took %q", len(took), len(guests), content)
		for i, g := range guests {
			c := from(g)
			if !done[i] && !again[i].IsZero() && !time.Now().Before(again[i]) {
				c.Sendf(`{"message":{"target":%q,"content":%q,"message_id":%q}}`, g.room, content, content)
				again[i] = time.Time{}
			}
			frames := c.Frames()
			for _, f := range frames[c.looked:] {
				switch {
				case f.String("message_id") != content:
				case f.Kind == "ack":
					done[i] = true
					took = append(took, time.Since(began))
					g.acked = append(g.acked, content)
				case f.Kind == "error":
					require.True(t, f.Bool("retryable"), f.Text)
					again[i] = time.Now().Add(askAgain)
				}
			}
			c.looked = len(frames)
		}
		<-time.After(2 * time.Millisecond)
	}
	slices.Sort(took)
	return took
}

// verify requires that both clients got what was acknowledged, each once and in one chain.
func (g *guest) verify(t *testing.T) {
	t.Helper()
	for _, c := range []*client{g.near, g.far} {
		last := g.acked[len(g.acked)-1]
		c.Await("message", func(f wire.Frame) bool { return f.String("content") == last })
		cursor, got := c.cursor, []string(nil)
		for _, f := range c.Frames() {
			require.NotEqual(t, "reset", f.Kind, f.Text)
			if f.Kind == "message" {
				require.Equal(t, cursor, f.Uint("prev_seq"), "S5: a gap or a repeat before %s", f.Text)
				cursor = f.Uint("seq")
				got = append(got, f.String("content"))
			}
		}
		require.Equal(t, g.acked, got, "S1, S3 in %s", g.room)
	}
}
