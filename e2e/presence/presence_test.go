// Package presence shows that everybody sees who is online, whatever happens to the nodes that know.
package presence

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/e2e/wire"
)

const (
	// patience bounds every wait that no promise is about, on a machine that builds and tests other things at the same time.
	patience = 2 * time.Minute
	// promised is how soon presence is right after a change; slack is for a busy machine.
	promised, slack = 5 * time.Second, 5 * time.Second
	room            = "hall"
)

// Counts and lists are right within seconds of joins, leaves, closed sockets, and of a gateway or a room's node that froze,
// died and came back, at every gateway.
func TestPresenceIsRightAfterEveryChange(t *testing.T) {
	t.Parallel()
	postgres := harness.StartCluster(t)
	harness.Migrate(t, postgres.URL())
	nats := harness.NewNATS(t)
	nats.Start()
	d := &harness.Deployment{JournalURL: postgres.URL(), ControlPlaneURL: nats.URL()}
	gateways, rooms := d.NewNodes(t, harness.Gateway, 2), d.NewNodes(t, harness.Rooms, 2)
	start(t, append(append([]*harness.Node(nil), rooms...), gateways...)...)

	c := &crowd{t: t}
	watcher := c.enter(gateways[1])
	doomed := c.enter(gateways[0])
	var far, near []*member
	for range 20 {
		far = append(far, c.enter(gateways[0]))
	}
	for range 10 {
		near = append(near, c.enter(gateways[1]))
	}
	c.settles("joined", watcher)
	c.settles("joined", doomed)

	for _, m := range far[:5] {
		c.leave(m)
	}
	for _, m := range slices.Concat(far[5:10], near[:3]) {
		c.close(m)
	}
	c.settles("left and closed", watcher)
	c.settles("left and closed", doomed)

	gateways[0].Freeze()
	onFirst := c.take(func(m *member) bool { return m.at == gateways[0] })
	c.settles("gateway frozen", watcher)
	gateways[0].Thaw()
	c.present = append(c.present, onFirst...)
	c.settles("gateway thawed", watcher)

	for _, n := range rooms { // one of them has the room, then the other
		n.Kill9()
		c.settles("node of the room killed", watcher)
		c.settles("node of the room killed", doomed)
		start(t, n)
	}

	gateways[0].Kill9()
	c.take(func(m *member) bool { return m.at == gateways[0] })
	c.settles("gateway killed", watcher)
	start(t, gateways[0])
	c.enter(gateways[0])
	c.settles("gateway started", watcher)
}

func start(t *testing.T, nodes ...*harness.Node) {
	t.Helper()
	for _, n := range nodes {
		n.Start()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, n := range nodes {
		began := time.Now()
		require.NoError(t, n.AwaitReady(ctx))
		t.Logf("%s ready after %s", n.Name, time.Since(began).Round(time.Millisecond))
	}
}

// member is one connection in the room.
type member struct {
	*wire.Conn
	id string
	at *harness.Node
}

// crowd knows who ought to be online.
type crowd struct {
	t       *testing.T
	present []*member
	asked   uint32
}

func (c *crowd) enter(at *harness.Node) *member {
	c.t.Helper()
	m := &member{Conn: wire.MustDial(c.t, at.WebSocket()), at: at}
	m.Sendf(`{"join_room":{"room_id":%q}}`, room)
	m.id = m.Expect("session").String("member_id")
	m.Await("room_joined", func(wire.Frame) bool { return true })
	c.present = append(c.present, m)
	return m
}

func (c *crowd) leave(m *member) {
	m.Sendf(`{"leave_room":{"room_id":%q}}`, room)
	m.Await("room_left", func(wire.Frame) bool { return true })
	c.take(func(other *member) bool { return other == m })
}

func (c *crowd) close(m *member) {
	m.Close()
	c.take(func(other *member) bool { return other == m })
}

// take removes members from those who ought to be online.
func (c *crowd) take(which func(*member) bool) (taken []*member) {
	kept := c.present[:0:0]
	for _, m := range c.present {
		if which(m) {
			taken = append(taken, m)
		} else {
			kept = append(kept, m)
		}
	}
	c.present = kept
	return taken
}

// settles asks until the asker sees exactly those who are online, and requires that it did so in time.
func (c *crowd) settles(change string, asker *member) {
	c.t.Helper()
	want := make([]string, 0, len(c.present))
	for _, m := range c.present {
		want = append(want, m.id)
	}
	slices.Sort(want)
	began := time.Now()
	for {
		state := c.ask(asker)
		got := membersOf(state)
		if state.Kind == "presence_state" && slices.Equal(got, want) {
			count, _ := state.Body["count"].(float64)
			require.Len(c.t, want, int(count))
			c.t.Logf("%s: right at %s after %s", change, asker.at.Name, time.Since(began).Round(time.Millisecond))
			return
		}
		require.Lessf(c.t, time.Since(began), promised+slack, "%s: %s does not see who is online: want %d members %v, seen last %d: %s",
			change, asker.at.Name, len(want), want, len(got), state.Text)
	}
}

// ask returns the answer to one question about presence: the state or an error.
func (c *crowd) ask(asker *member) wire.Frame {
	c.t.Helper()
	c.asked++
	id, next := c.asked, len(asker.Frames())
	asker.Sendf(`{"id":%d,"presence":{"room_id":%q}}`, id, room)
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		frames := asker.Frames()
		for ; next < len(frames); next++ {
			if f := frames[next]; f.ID == id {
				return f
			}
		}
		<-ticker.C
	}
	require.FailNow(c.t, "presence was not answered", asker.at.Name)
	return wire.Frame{}
}

// membersOf are the members of a state with one connection each, sorted.
func membersOf(state wire.Frame) (ids []string) {
	members, _ := state.Body["members"].([]any)
	for _, m := range members {
		body, _ := m.(map[string]any)
		if id, _ := body["member_id"].(string); body["connections"] == float64(1) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
