package gateway

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/postgres"
	"github.com/parley-rt/parley/libs/persistence/sqlite"
)

// stores are real ones.
var stores = map[string]func(t *testing.T) persistence.Backend{
	"sqlite": func(t *testing.T) persistence.Backend {
		b, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "journal.db"), sqlite.Options{})
		require.NoError(t, err)
		return b
	},
	"postgres": func(t *testing.T) persistence.Backend {
		b, err := postgres.Open(t.Context(), cluster.SchemaURL(t), postgres.Options{})
		require.NoError(t, err)
		return b
	},
}

// journey is a run of a client through gateways that are killed.
type journey struct {
	t     *testing.T
	g     *bundle // of a gateway that lives, for a witness
	store persistence.Backend
	count int
}

// mortal starts a gateway with a life.
func (j *journey) mortal(end int, after bool) (*bundle, *life) {
	j.t.Helper()
	j.count++
	l := &life{end: end, after: after, over: make(chan struct{})}
	name := fmt.Sprintf("mortal-%d", j.count)
	r := j.g.rooms[0]
	r.mu.Lock()
	r.lives[name] = l
	r.mu.Unlock()
	b := &bundle{t: j.t, journal: j.g.journal, over: l.over, backend: &mortalStore{j.store, l}, dir: j.g.dir, health: j.g.health, http: j.g.http}
	b.service = b.start(name)
	l.cut = func() {
		for _, c := range b.service.wheel.All() {
			c.Kill()
		}
	}
	actorkittest.WaitUp(j.t, b.service.node, r.node.Self().Node)
	actorkittest.WaitUp(j.t, r.node, name)
	return b, l
}

// itinerary is what the client does; a witness says something in both rooms before each step.
var itinerary = []step{
	{"join", "first", ""}, {"say", "first", "a"}, {"join", "second", ""}, {"say", "second", "b"},
	{"leave", "first", ""}, {"say", "second", "c"},
}

// travel goes through the itinerary and checks the end. between, if any, is called before each step.
func (j *journey) travel(gateways []*bundle, between func(v *voyager, i int)) {
	t := j.t
	t.Helper()
	rooms := map[string]string{}
	for _, name := range []string{"first", "second"} {
		rooms[name] = fmt.Sprintf("%s-%d", name, j.count)
	}
	witness, v := newVoyager(t, "the witness", j.g), newVoyager(t, "the client", append(slices.Clone(gateways), j.g)...)
	for _, room := range rooms {
		witness.do(step{"join", room, ""})
	}
	for i, s := range itinerary {
		for name, room := range rooms {
			witness.do(step{"say", room, fmt.Sprintf("witness %s %d", name, i)})
		}
		if between != nil {
			between(v, i)
		}
		v.do(step{s.kind, rooms[s.room], s.content})
	}
	witness.do(step{"say", rooms["second"], "end"})
	v.hearUntil(rooms["second"], "end")

	// Everything since it joined, once each, in the room's order: what it received was contiguous, so this is the whole.
	journal := j.g.journal
	journal.mu.Lock()
	var all []string
	for _, m := range journal.rooms[rooms["second"]].messages {
		all = append(all, m.GetContent())
	}
	sessions := map[string][]string{} // joined rooms by session
	for name, room := range rooms {
		for session, s := range journal.rooms[room].sessions {
			if s.joined {
				sessions[session] = append(sessions[session], name)
			}
		}
	}
	journal.mu.Unlock()
	got := v.stay(rooms["second"]).got
	require.Equal(t, all[len(all)-len(got):], got)
	for _, own := range []string{"b", "c"} {
		require.Equal(t, 1, count(got, own), "%q was stored once and received once: %v", own, got)
	}
	require.Equal(t, 1, count(contentsOf(journal, rooms["first"]), "a"), "S3")

	// The session's row and the rooms agree: it is in the second room and in no other.
	v.at = len(v.gateways) - 1
	v.connect()
	v.c.mu.Lock()
	listed := v.c.frames[0].GetSession().GetRooms()
	v.c.mu.Unlock()
	require.Equal(t, []string{rooms["second"]}, listed)
	lists := slices.Collect(maps.Values(sessions))
	require.Len(t, lists, 2, "the witness and the client: %v", sessions)
	require.ElementsMatch(t, [][]string{{"second"}, {"first", "second"}}, sorted(lists))
}

func contentsOf(j *journal, room string) (contents []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, m := range j.rooms[room].messages {
		contents = append(contents, m.GetContent())
	}
	return contents
}

func count(list []string, s string) (n int) {
	for _, have := range list {
		if have == s {
			n++
		}
	}
	return n
}

func sorted(lists [][]string) [][]string {
	for _, l := range lists {
		slices.Sort(l)
	}
	return lists
}

// everyPoint has run do its journey with a gateway that dies at its first action, its second, and so on until it has fewer:
// before each, and after each before it hears of it. run returns the gateway's life.
func everyPoint(t *testing.T, least int, run func(t *testing.T, number, end int, after bool) *life) {
	t.Helper()
	for end := 1; ; end++ {
		for _, after := range []bool{false, true} {
			died := true
			when := map[bool]string{false: "before", true: "after"}[after]
			t.Run(fmt.Sprintf("%s %d", when, end), func(t *testing.T) {
				l := run(t, 10*end+len(when), end, after)
				if died = l.dead.Load(); died {
					t.Logf("died %s %s", when, l.did()[end-1])
				} else {
					require.Greater(t, end, least, "%v", l.did())
				}
			})
			if !died || t.Failed() {
				return
			}
		}
	}
}

// A gateway is killed at every point between two things that it does to the session store and the rooms. Wherever that is,
// its client gets its session and its rooms back at the next gateway, and no message is lost or repeated (S1, S3, S5).
func TestGatewayIsKilledAtEveryPoint(t *testing.T) {
	t.Parallel()
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			g := setupOn(t, 1, store)
			everyPoint(t, 11, func(t *testing.T, number, end int, after bool) *life {
				j := &journey{t: t, g: g, store: store, count: 1000 * number}
				b, l := j.mortal(end, after)
				j.travel([]*bundle{b}, nil)
				b.retire()
				return l
			})
		})
	}
}

// The same for the gateway that a client resumes at.
func TestGatewayIsKilledWhileASessionIsResumed(t *testing.T) {
	t.Parallel()
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			g := setupOn(t, 1, store)
			everyPoint(t, 6, func(t *testing.T, number, end int, after bool) *life {
				j := &journey{t: t, g: g, store: store, count: 1000 * number}
				first, firstLife := j.mortal(0, false)
				second, secondLife := j.mortal(end, after)
				j.travel([]*bundle{first, second}, func(_ *voyager, i int) {
					if i == 4 { // it is in both rooms
						firstLife.kill()
					}
				})
				first.retire()
				second.retire()
				return secondLife
			})
		})
	}
}

// setupOn is setup with a store of the test's own.
func setupOn(t *testing.T, nodes int, store persistence.Backend) *bundle {
	t.Helper()
	t.Cleanup(func() { require.NoError(t, store.Close(context.Background())) })
	return setupWith(t, nodes, store)
}

// retire stops a gateway before the test ends.
func (g *bundle) retire() {
	g.t.Helper()
	g.stopped = true
	close(g.over)
	g.stop(g.service)
}
