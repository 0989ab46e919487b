// Package detour shows that two nodes which do not reach each other go on over a third one: gateways and rooms nodes as separate
// processes in network namespaces, on Postgres and NATS. It takes root.
package detour

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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

func TestNodesGoAroundCutWires(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	for i := range 16 {
		room := fmt.Sprint("room-", i)
		d.guests = append(d.guests, &guest{room: room, near: enter(t, d.gateways[0], room), far: enter(t, d.gateways[1], room)})
	}
	publish(t, d.guests, near, "hello")
	t.Run("gateway", d.testGateway)
	t.Run("rooms", d.testRooms)
	t.Run("frozen", d.testFrozen)
	for _, g := range d.guests {
		g.verify(t)
	}
}

// While a gateway is cut from a rooms node that lives, in one direction or both, its clients go on in the rooms of that node: what
// they publish is acknowledged (L3) and what others publish reaches them (L2) within the budget, and nothing is lost, doubled or out
// of order (S1, S3, S5). The node keeps its rooms. When the wire is whole again, so is the way.
func (d *datacenter) testGateway(t *testing.T) {
	gateway, node := d.gateways[0], d.rooms[0]
	owners := d.owners(t)
	affected := d.written(t, owners, node)
	for _, cuts := range [][]network.Cut{
		{{From: gateway.Host(), To: node.Host()}, {From: node.Host(), To: gateway.Host()}},
		{{From: gateway.Host(), To: node.Host()}},
		{{From: node.Host(), To: gateway.Host()}},
		{{From: gateway.Host(), To: node.Host(), Refuse: true}},
	} {
		name, heal := d.cut(t, cuts...)
		began := time.Now()
		acknowledged := publish(t, affected, near, name+" near")
		t.Logf("%s: %d rooms acknowledged after %v to %v, median %v", name, len(acknowledged), acknowledged[0],
			acknowledged[len(acknowledged)-1], acknowledged[len(acknowledged)/2])
		require.Less(t, time.Since(began), budget, "L3: %s", name)
		began = time.Now()
		publish(t, affected, far, name+" far")
		for _, g := range affected {
			g.near.Await("message", func(f wire.Frame) bool { return f.String("content") == name+" far" })
		}
		t.Logf("%s: what others published then came within %v", name, time.Since(began))
		require.Less(t, time.Since(began), budget, "L2: %s", name)
		require.Equal(t, owners, d.owners(t), "a node that lives is not robbed")
		heal()
		d.awaitDirect(t, gateway, node)
	}
	require.Contains(t, get(t, gateway.OpsURL()+"/metrics"), `parley_link_relayed_total{direction="sent"`)
	require.Contains(t, get(t, d.rooms[1].OpsURL()+"/metrics"), `parley_link_relayed_total{direction="forwarded"`)
}

func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, errors.Join(err, res.Body.Close()))
	return string(body)
}

// A rooms node that is cut from another one counts it as living, over a gateway here, and takes no room from it when it is asked for
// one; it asks the owner.
func (d *datacenter) testRooms(t *testing.T) {
	a, b := d.rooms[0], d.rooms[1]
	owners := d.owners(t)
	_, heal := d.cut(t, network.Cut{From: a.Host(), To: b.Host()}, network.Cut{From: b.Host(), To: a.Host()})
	d.awaitAround(t, a, b)
	for _, g := range d.guests {
		for _, node := range d.rooms {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, node.URL()+"/parley.admin.v1.RoomService/GetRoom",
				strings.NewReader(fmt.Sprintf(`{"room_id":%q}`, g.room)))
			require.NoError(t, err)
			req.Header.Set("Content-Type", "application/json")
			res, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			body, err := io.ReadAll(res.Body)
			require.NoError(t, errors.Join(err, res.Body.Close()))
			require.Equal(t, http.StatusOK, res.StatusCode, "%s asked for %s: %s", node.Name, g.room, body)
		}
	}
	require.Equal(t, owners, d.owners(t), "a node that lives is not robbed")
	heal()
	d.awaitDirect(t, a, b)
}

// A rooms node that hangs does not live because there is a way around to it: its rooms are taken over within the budget.
func (d *datacenter) testFrozen(t *testing.T) {
	gateway, node := d.gateways[0], d.rooms[0]
	affected := d.written(t, d.owners(t), node)
	_, heal := d.cut(t, network.Cut{From: gateway.Host(), To: node.Host()}, network.Cut{From: node.Host(), To: gateway.Host()})
	publish(t, affected, near, "around")
	node.Freeze()
	took := publish(t, affected, near, "taken over")
	t.Logf("%d rooms taken over after %v to %v", len(took), took[0], took[len(took)-1])
	require.Less(t, took[len(took)-1], budget, "L3")
	owners := d.owners(t)
	for _, g := range affected {
		require.Equal(t, d.rooms[1].Name, owners[g.room])
	}
	node.Thaw()
	heal()
	publish(t, affected, far, "thawed")
}

// datacenter is what the test has.
type datacenter struct {
	network         *network.Network
	postgres        *harness.Cluster
	gateways, rooms []*harness.Node
	guests          []*guest
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

// written are the guests of the rooms that a node writes.
func (d *datacenter) written(t *testing.T, owners map[string]string, node *harness.Node) []*guest {
	t.Helper()
	var guests []*guest
	for _, g := range d.guests {
		if owners[g.room] == node.Name {
			guests = append(guests, g)
		}
	}
	require.NotEmpty(t, guests, "%s has none of the rooms: %v", node.Name, owners)
	return guests
}

func (d *datacenter) cut(t *testing.T, cuts ...network.Cut) (name string, heal func()) {
	t.Helper()
	var names []string
	var heals []func() error
	for _, c := range cuts {
		h, err := d.network.Cut(c)
		require.NoError(t, err)
		names, heals = append(names, c.String()), append(heals, h)
	}
	return strings.Join(names, ", "), func() {
		t.Helper()
		for _, h := range heals {
			require.NoError(t, h())
		}
	}
}

// ways counts how often a node has said that it goes around to another one, and directly again.
func ways(from, to *harness.Node) (around, direct int) {
	for line := range strings.Lines(from.Log()) {
		switch {
		case !strings.Contains(line, `"peer":"`+to.Name+`"`):
		case strings.Contains(line, `"link goes around"`):
			around++
		case strings.Contains(line, `"link goes directly again"`):
			direct++
		}
	}
	return around, direct
}

// awaitAround waits until two nodes that went directly go around.
func (d *datacenter) awaitAround(t *testing.T, a, b *harness.Node) {
	t.Helper()
	for _, way := range [][2]*harness.Node{{a, b}, {b, a}} {
		require.Eventually(t, func() bool {
			around, direct := ways(way[0], way[1])
			return around > direct
		}, patience, 20*time.Millisecond, "%s goes around to %s", way[0].Name, way[1].Name)
	}
}

// awaitDirect waits until two nodes go directly again.
func (d *datacenter) awaitDirect(t *testing.T, a, b *harness.Node) {
	t.Helper()
	for _, way := range [][2]*harness.Node{{a, b}, {b, a}} {
		require.Eventually(t, func() bool {
			around, direct := ways(way[0], way[1])
			return around > 0 && around == direct
		}, patience, 20*time.Millisecond, "%s goes to %s directly again", way[0].Name, way[1].Name)
	}
}

func near(g *guest) *client { return g.near }
func far(g *guest) *client  { return g.far }

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
