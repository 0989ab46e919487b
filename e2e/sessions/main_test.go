// Package sessions shows that clients go on where they were, whatever happens to gateways: several gateways and rooms nodes
// as separate processes, on Postgres and NATS.
package sessions

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/e2e/wire"
)

// patience bounds every wait, on a machine that builds and tests other things at the same time.
const patience = 2 * time.Minute

// deployment is a small datacenter.
type deployment struct {
	journal         *harness.Cluster
	gateways, rooms []*harness.Node
}

// nodes are all, rooms nodes first.
func (d *deployment) nodes() []*harness.Node { return slices.Concat(d.rooms, d.gateways) }

// deploy starts two gateways, with this in their environment, and two rooms nodes.
func deploy(t *testing.T, environment ...string) *deployment {
	t.Helper()
	postgres := harness.StartCluster(t)
	harness.Migrate(t, postgres.URL())
	nats := harness.NewNATS(t)
	nats.Start()
	d := &harness.Deployment{JournalURL: postgres.URL(), ControlPlaneURL: nats.URL()}
	// Members publish as fast as they can here.
	environment = append([]string{"PARLEY_RATE_LIMIT_MEMBER_MESSAGES=0", "PARLEY_RATE_LIMIT_CONNECTION_MESSAGES=0"}, environment...)
	p := &deployment{
		journal:  postgres,
		gateways: d.NewNodes(t, harness.Gateway, 2, environment...), rooms: d.NewNodes(t, harness.Rooms, 2),
	}
	p.startAll(t)
	return p
}

// startAll starts every service and returns when all are ready.
func (d *deployment) startAll(t *testing.T) {
	t.Helper()
	for _, n := range d.nodes() {
		n.Start()
	}
	for _, n := range d.nodes() {
		ready(t, n)
	}
}

func ready(t *testing.T, n *harness.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, n.AwaitReady(ctx))
}

// resumed is a connection that resumed a session, or did not.
type resumed struct {
	*wire.Conn
	session wire.Frame
	heard   int // frames that hear has looked at
}

// open opens a connection with a hello; rooms are its JSON, "" for none.
func open(t *testing.T, g *harness.Node, token, rooms string) *resumed {
	t.Helper()
	c := wire.MustDial(t, g.WebSocket()+"?hello=1")
	c.Sendf(`{"hello":{"session_token":%q,"rooms":[%s]}}`, token, rooms)
	return &resumed{Conn: c, session: c.Expect("session")}
}

func (r *resumed) token() string  { return r.session.String("token") }
func (r *resumed) member() string { return r.session.String("member_id") }

// enter joins a room and returns the cursor.
func (r *resumed) enter(room string) uint64 {
	r.Sendf(`{"join_room":{"room_id":%q}}`, room)
	return r.Await("room_joined", func(f wire.Frame) bool { return f.String("room_id") == room }).Uint("seq")
}

// say publishes and returns the message's seq.
func (r *resumed) say(room, content string) uint64 {
	r.Sendf(`{"message":{"target":%q,"content":%q,"message_id":%q}}`, room, content, content)
	return r.Await("ack", func(f wire.Frame) bool { return f.String("message_id") == content }).Uint("seq")
}

// hear takes messages of a room until one with that content, and requires that they continue the cursor (S5).
func (r *resumed) hear(t *testing.T, room string, cursor uint64, last string) (contents []string, _ uint64) {
	t.Helper()
	r.Await("message", func(f wire.Frame) bool { return f.String("target") == room && f.String("content") == last })
	for frames := r.Frames(); ; {
		m := frames[r.heard]
		r.heard++
		if m.Kind != "message" || m.String("target") != room {
			continue
		}
		require.Equal(t, cursor, m.Uint("prev_seq"), "a gap or a repeat before %s", m.Text)
		cursor = m.Uint("seq")
		contents = append(contents, m.String("content"))
		if m.String("content") == last {
			return contents, cursor
		}
	}
}

func cursorOf(room string, seq uint64) string {
	return fmt.Sprintf(`{"room_id":%q,"after_seq":"%d"}`, room, seq)
}
