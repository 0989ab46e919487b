package presence

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/e2e/wire"
	"github.com/parley-rt/parley/sdk/go"
)

// In a room that tells who comes and goes, those in it who only listen know who is in it within seconds, through the death of a
// gateway and of the nodes that run the room. What is told while a room is on its way to another node may be lost, nothing else:
// nobody is said to come twice, or to go who was not there, and a member that only changes gateways does neither.
func TestComingsThroughFaults(t *testing.T) {
	t.Parallel()
	postgres := harness.StartCluster(t)
	harness.Migrate(t, postgres.URL())
	nats := harness.NewNATS(t)
	nats.Start()
	d := &harness.Deployment{JournalURL: postgres.URL(), ControlPlaneURL: nats.URL()}
	gateways, rooms := d.NewNodes(t, harness.Gateway, 2), d.NewNodes(t, harness.Rooms, 2)
	start(t, append(append([]*harness.Node(nil), rooms...), gateways...)...)

	// Watchers are at the gateway that lives, movers begin at the other one.
	s := &scene{t: t, rooms: rooms, in: map[string]bool{}}
	s.watch(gateways[1], false)
	call(t, s.api(), "UpdateSettings", `{"room_id":"hall","presence_events":true}`)
	s.watch(gateways[1], true)
	for range 8 {
		s.addMover(gateways[0].WebSocket() + "," + gateways[1].WebSocket())
	}
	s.move(25)
	s.settles("calm")

	gateways[0].Kill9()
	s.move(25)
	s.settles("gateway killed")
	start(t, gateways[0])

	faults := []struct {
		name string
		do   func(owner *harness.Node)
	}{
		{"node of the room killed", func(n *harness.Node) { n.Kill9() }},
		{"node of the room drained", func(n *harness.Node) { require.NoError(t, n.Term(patience)) }},
		{"node of the room frozen", func(n *harness.Node) { n.Freeze() }},
	}
	for _, fault := range faults {
		owner := s.owner()
		s.away = owner
		fault.do(owner)
		s.onTheWay = map[string]bool{}
		s.move(10)
		s.heal(fault.name)
		s.move(25)
		s.settles(fault.name)
		if running, _ := owner.Running(); running {
			owner.Thaw()
			require.NoError(t, owner.AwaitReady(t.Context()))
		} else {
			start(t, owner)
		}
		s.away = nil
		s.move(5)
		s.settles(fault.name + ", and back")
	}
}

// coming is what a watcher is told of a member.
type coming struct {
	member string
	joined bool
}

// watcher only listens.
type watcher struct {
	name string
	told func() []coming
	// seen are those that were looked at; in are the members as it knows them.
	seen int
	in   map[string]bool
}

// mover joins and leaves.
type mover struct {
	client *parley.Client
	room   *parley.Room // nil when it is out
}

// scene is a room whose members are known.
type scene struct {
	t        *testing.T
	rooms    []*harness.Node
	watchers []*watcher
	movers   []*mover
	in       map[string]bool // of movers
	// onTheWay are those who moved when the room did: what is told of them may be lost.
	onTheWay map[string]bool
	// away does not serve its API.
	away *harness.Node
}

// watch adds a watcher: a script, or a program of sdk/go.
func (s *scene) watch(g *harness.Node, program bool) {
	s.t.Helper()
	w := &watcher{name: "script", in: map[string]bool{}}
	if !program {
		c := wire.MustDial(s.t, g.WebSocket())
		c.Sendf(`{"join_room":{"room_id":%q}}`, room)
		c.Expect("room_joined")
		w.told = func() (told []coming) {
			for _, f := range c.Frames() {
				if f.Kind == "member_joined" || f.Kind == "member_left" {
					told = append(told, coming{f.String("member_id"), f.Kind == "member_joined"})
				}
			}
			return told
		}
	} else {
		w.name = "program"
		var mu sync.Mutex
		var all []coming
		s.join(s.dial(g.WebSocket()), parley.JoinOptions{OnMember: func(e parley.MemberEvent) {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, coming{e.MemberID, e.Joined})
		}})
		w.told = func() []coming {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(all)
		}
	}
	s.watchers = append(s.watchers, w)
}

func (s *scene) dial(addresses string) *parley.Client {
	s.t.Helper()
	client, err := parley.Dial(s.t.Context(), addresses, parley.Config{InOrder: true})
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = client.Close(s.t.Context()) }) // it is cut
	return client
}

func (s *scene) join(client *parley.Client, opts parley.JoinOptions) *parley.Room {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	r, err := client.Join(ctx, room, opts)
	require.NoError(s.t, err)
	return r
}

func (s *scene) addMover(addresses string) {
	s.t.Helper()
	s.movers = append(s.movers, &mover{client: s.dial(addresses)})
}

// move has movers, one after the other, join or leave.
func (s *scene) move(n int) {
	s.t.Helper()
	for range n {
		m := s.movers[rand.IntN(len(s.movers))]
		s.turn(m)
	}
}

// turn has one mover join or leave.
func (s *scene) turn(m *mover) {
	s.t.Helper()
	id := m.client.MemberID()
	if s.onTheWay != nil {
		s.onTheWay[id] = true
	}
	if m.room == nil {
		m.room = s.join(m.client, parley.JoinOptions{})
		s.in[id] = true
		return
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	require.NoError(s.t, m.room.Leave(ctx))
	m.room = nil
	delete(s.in, id)
}

// heal has everybody who moved while the room did move once more, until every watcher is right about them. That must be soon:
// from then on nothing may be lost.
func (s *scene) heal(name string) {
	s.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for began := time.Now(); ; {
		for _, m := range s.movers {
			if s.onTheWay[m.client.MemberID()] {
				s.turn(m)
			}
		}
		// Long enough for all of it to be told, half a second together.
		for told := time.Now(); time.Since(told) < 2*time.Second; <-ticker.C {
			if s.right() {
				s.onTheWay = nil
				s.t.Logf("%s: told again after %s", name, time.Since(began).Round(time.Millisecond))
				return
			}
		}
		require.Less(s.t, time.Since(began), 2*(promised+slack), "%s: nothing is told", name)
	}
}

// settles requires that all watchers are right in time, and says what the API does.
func (s *scene) settles(name string) {
	s.t.Helper()
	began := time.Now()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !s.right() {
		<-ticker.C
		for _, w := range s.watchers {
			require.Lessf(s.t, time.Since(began), promised+slack, "%s: the %s believes in %v, not %v", name, w.name, keys(w.in), keys(s.in))
		}
	}
	var listed []string
	answer := call(s.t, s.api(), "ListMembers", `{"room_id":"hall"}`)
	members, _ := answer["members"].([]any)
	for _, m := range members {
		body, _ := m.(map[string]any)
		id, _ := body["member_id"].(string)
		if slices.ContainsFunc(s.movers, func(m *mover) bool { return m.client.MemberID() == id }) {
			listed = append(listed, id)
		}
	}
	slices.Sort(listed)
	require.Equal(s.t, keys(s.in), listed, "the member list")
	s.t.Logf("%s: %d of %d are in, all right after %s", name, len(s.in), len(s.movers), time.Since(began).Round(time.Millisecond))
}

// right tells whether all watchers know who is in. What they are told must make sense.
func (s *scene) right() bool {
	right := true
	for _, w := range s.watchers {
		told := w.told()
		for _, c := range told[w.seen:] {
			if s.onTheWay == nil || !s.onTheWay[c.member] {
				require.NotEqual(s.t, c.joined, w.in[c.member], "the %s is told twice that %s joined: %t", w.name, c.member, c.joined)
			}
			if c.joined {
				w.in[c.member] = true
			} else {
				delete(w.in, c.member)
			}
		}
		w.seen = len(told)
		movers := maps.Clone(w.in)
		maps.DeleteFunc(movers, func(id string, _ bool) bool {
			return !slices.ContainsFunc(s.movers, func(m *mover) bool { return m.client.MemberID() == id })
		})
		right = right && maps.Equal(movers, s.in)
	}
	return right
}

func keys(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }

// api is a node that serves it.
func (s *scene) api() *harness.Node {
	if s.rooms[0] == s.away {
		return s.rooms[1]
	}
	return s.rooms[0]
}

// owner is the node that runs the room.
func (s *scene) owner() *harness.Node {
	s.t.Helper()
	answer, _ := call(s.t, s.api(), "GetRoom", `{"room_id":"hall"}`)["room"].(map[string]any)
	i := slices.IndexFunc(s.rooms, func(n *harness.Node) bool { return n.Name == answer["node"] })
	require.GreaterOrEqual(s.t, i, 0, "%v", answer)
	return s.rooms[i]
}

// call calls the API of a node.
func call(t *testing.T, n *harness.Node, method, body string) (answer map[string]any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.URL()+"/parley.admin.v1.RoomService/"+method, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { require.NoError(t, res.Body.Close()) }()
	require.NoError(t, json.NewDecoder(res.Body).Decode(&answer))
	require.Equal(t, http.StatusOK, res.StatusCode, fmt.Sprint(answer))
	return answer
}
