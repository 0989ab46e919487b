package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/e2e/wire"
)

// slack is what a busy machine may add to the second in which a ruling is seen.
const slack = 6 * time.Second

// S8: members who talk all the time are banned, kicked and muted while their gateway is frozen, while their room moves, and just
// before its node is killed. Nothing that is newer than the ruling reaches those who are out, nothing of theirs that is newer is
// stored, whatever was on its way; and nobody else notices (S5).
func TestRulingsHoldThroughFaults(t *testing.T) {
	t.Parallel()
	postgres, nats := harness.StartCluster(t), harness.NewNATS(t)
	nats.Start()
	harness.Migrate(t, postgres.URL())
	d := &harness.Deployment{JournalURL: postgres.URL(), ControlPlaneURL: nats.URL()}
	r := &ruled{t: t, gateways: d.NewNodes(t, harness.Gateway, 2), nodes: d.NewNodes(t, harness.Rooms, 2)}
	for _, n := range append(append([]*harness.Node(nil), r.gateways...), r.nodes...) {
		n.Start()
	}
	for _, n := range append(append([]*harness.Node(nil), r.gateways...), r.nodes...) {
		r.ready(n)
	}

	t.Run("gateway frozen", func(t *testing.T) {
		c := r.convene(t, "frozen")
		r.gateways[0].Freeze()
		c.rules(t, r.nodes[0])
		// Longer than others take it for dead, and meanwhile its sockets take what is sent.
		c.talks(t, 6*time.Second)
		thawed := time.Now()
		r.gateways[0].Thaw()
		c.holds(t, thawed)
	})
	t.Run("room moves", func(t *testing.T) {
		c := r.convene(t, "moving")
		owner, other := r.owner(t, "moving")
		ended := make(chan error, 1)
		go func() { ended <- owner.Term(patience) }()
		c.rules(t, other)
		c.holds(t, time.Now())
		require.NoError(t, <-ended)
		owner.Start()
		r.ready(owner)
	})
	t.Run("node of the room killed", func(t *testing.T) {
		c := r.convene(t, "orphaned")
		owner, other := r.owner(t, "orphaned")
		c.rules(t, other)
		owner.Kill9()
		c.holds(t, time.Now())
		owner.Start()
		r.ready(owner)
	})
}

// ruled is the deployment.
type ruled struct {
	t               *testing.T
	gateways, nodes []*harness.Node
}

func (r *ruled) ready(n *harness.Node) {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	require.NoError(r.t, n.AwaitReady(ctx))
}

// owner is the node that runs a room, and the other one.
func (r *ruled) owner(t *testing.T, room string) (owner, other *harness.Node) {
	t.Helper()
	name, _ := document(t, must(t, nil, "room", "show", room, "--json", "--api", r.nodes[0].URL()))["node"].(string)
	if r.nodes[0].Name == name {
		return r.nodes[0], r.nodes[1]
	}
	require.Equal(t, r.nodes[1].Name, name)
	return r.nodes[1], r.nodes[0]
}

func document(t *testing.T, text string) (doc map[string]any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), &doc), text)
	return doc
}

// court is a room in which everybody talks: three at the first gateway of whom each gets a ruling, and two who get none.
type court struct {
	room    string
	api     *harness.Node // a node that lives
	accused []*talker
	others  []*talker
	quit    func()
}

// talker says something every 20 ms.
type talker struct {
	member
	ruling string // "" for those without
	cursor uint64
	// seq is the ruling's.
	seq uint64
}

func (r *ruled) convene(t *testing.T, room string) *court {
	t.Helper()
	c := &court{room: room}
	enter := func(g *harness.Node, ruling string) *talker {
		k := &talker{member: join(t, g.WebSocket(), room), ruling: ruling}
		k.cursor = k.Await("room_joined", func(wire.Frame) bool { return true }).Uint("seq")
		return k
	}
	for _, ruling := range []string{"ban", "kick", "mute"} {
		c.accused = append(c.accused, enter(r.gateways[0], ruling))
	}
	c.others = []*talker{enter(r.gateways[0], ""), enter(r.gateways[1], "")}
	ctx, cancel := context.WithCancel(t.Context())
	var talking sync.WaitGroup
	for _, k := range append(append([]*talker(nil), c.accused...), c.others...) {
		talking.Go(func() { k.talk(ctx, room) })
	}
	c.quit = func() {
		cancel()
		talking.Wait()
	}
	t.Cleanup(c.quit)
	c.talks(t, 300*time.Millisecond)
	return c
}

func (k *talker) talk(ctx context.Context, room string) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if k.TrySend(fmt.Sprintf(`{"message":{"target":%q,"content":"%s %d","message_id":"%s-%d"}}`, room, k.id, n, k.id, n)) != nil {
			return // its connection has ended, which holds finds out
		}
	}
}

// talks lets them talk on for a while.
func (c *court) talks(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.FailNow()
	}
}

// rules gives all rulings at once, through a node's API, and returns when all are answered.
func (c *court) rules(t *testing.T, through *harness.Node) {
	t.Helper()
	c.api = through
	began := time.Now()
	var ruling sync.WaitGroup
	said, codes := make([]string, len(c.accused)), make([]int, len(c.accused))
	for i, k := range c.accused {
		ruling.Go(func() {
			var stderr string
			said[i], stderr, codes[i] = parley(t, nil, "room", k.ruling, c.room, k.id, "--json", "--timeout", "1m", "--api", through.URL())
			said[i] += stderr
		})
	}
	ruling.Wait()
	t.Logf("answered after %s", time.Since(began).Round(time.Millisecond))
	for i, k := range c.accused {
		require.Zero(t, codes[i], said[i])
		text, _ := document(t, said[i])["seq"].(string)
		var err error
		k.seq, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err, said[i])
	}
}

// holds requires that the rulings are in force, soon after their members can be told.
func (c *court) holds(t *testing.T, from time.Time) {
	t.Helper()
	for _, k := range c.accused {
		switch k.ruling {
		case "mute":
			k.Await("error", func(f wire.Frame) bool { return f.String("code") == "MUTED" })
		default:
			left := k.Await("room_left", func(wire.Frame) bool { return true })
			require.Equal(t, map[string]string{"ban": "banned", "kick": "kicked"}[k.ruling], left.String("reason"))
		}
		t.Logf("%s seen by the client after %s", k.ruling, time.Since(from).Round(time.Millisecond))
		require.Less(t, time.Since(from), time.Second+slack)
	}
	c.talks(t, time.Second)
	c.quit()
	// What the others say now comes after everything that was on its way.
	for i, k := range c.others {
		k.Sendf(`{"message":{"target":%q,"content":"last","message_id":"last-%d"}}`, c.room, i)
		k.Await("ack", func(f wire.Frame) bool { return f.String("message_id") == fmt.Sprint("last-", i) })
	}
	for _, k := range append(c.others, c.accused[2]) {
		for i := range c.others {
			k.Await("message", func(f wire.Frame) bool { return f.String("message_id") == fmt.Sprint("last-", i) })
		}
	}
	for _, k := range c.accused {
		if k.ruling != "mute" {
			k.Send(`{"id":77,"ping":{}}`)
			k.Await("pong", func(f wire.Frame) bool { return f.ID == 77 })
		}
		newest := k.follow(t, c.room)
		if k.ruling != "mute" {
			require.Less(t, newest, k.seq, "the %s is at seq %d", k.ruling, k.seq)
		}
		require.Less(t, k.stored(t, c.room), k.seq, "of who was hit by the %s", k.ruling)
	}
	for _, k := range c.others {
		k.follow(t, c.room)
	}
	c.judge(t)
}

// follow returns the seq of the newest message received, and requires that none was missed or repeated (S5).
func (k *talker) follow(t *testing.T, room string) uint64 {
	t.Helper()
	cursor := k.cursor
	for _, f := range k.Frames() {
		if f.Kind == "message" && f.String("target") == room {
			require.Equal(t, cursor, max(f.Uint("prev_seq"), k.cursor), "a gap or a repeat before %s", f.Text)
			cursor = f.Uint("seq")
		}
	}
	return cursor
}

// stored returns the newest seq that was acknowledged to the talker.
func (k *talker) stored(t *testing.T, room string) (newest uint64) {
	t.Helper()
	for _, f := range k.Frames() {
		if f.Kind == "ack" && f.String("target") == room {
			newest = max(newest, f.Uint("seq"))
		}
	}
	require.Positive(t, newest, "it was heard before")
	return newest
}

// judge looks into the room's history.
func (c *court) judge(t *testing.T) {
	t.Helper()
	last := map[string]uint64{}
	for after, more := uint64(0), true; more; {
		status, page := post(t, c.api.URL(), "History", "", fmt.Sprintf(`{"room_id":%q,"after_seq":"%d","limit":500}`, c.room, after))
		require.Equal(t, 200, status, page)
		messages, _ := page["messages"].([]any)
		for _, m := range messages {
			body, _ := m.(map[string]any)
			sender, _ := body["sender"].(string)
			text, _ := body["seq"].(string)
			seq, err := strconv.ParseUint(text, 10, 64)
			require.NoError(t, err)
			last[sender], after = seq, seq
		}
		more, _ = page["more"].(bool)
	}
	for _, k := range c.accused {
		require.NotZero(t, last[k.id])
		require.Less(t, last[k.id], k.seq, "the newest message of who was hit by the %s", k.ruling)
	}
	for _, k := range c.others {
		require.Greater(t, last[k.id], c.accused[2].seq)
	}
}
