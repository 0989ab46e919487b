package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The checker is worth something only if it finds what it is given: each of these does one thing that nobody may do.
func TestCheckerFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	const room = busyRoom
	msg := func(client, n int, seq, epoch uint64) row {
		return row{seq: seq, prev: seq - 1, epoch: epoch, member: client, id: messageID{client, n}}
	}
	for name, test := range map[string]struct {
		kind Kind
		do   func(w *world, c *client)
	}{
		"nothing": {"", func(w *world, c *client) {
			w.store(t, msg(1, 1, 1, 1), msg(1, 2, 2, 1))
			c.rooms[room].acked(messageID{1, 1}, 1)
			c.rooms[room].take(message{1, 0, messageID{1, 1}})
			c.rooms[room].take(message{2, 1, messageID{1, 2}})
		}},
		"acknowledged and not stored": {kindS1, func(_ *world, c *client) { c.rooms[room].acked(messageID{1, 1}, 1) }},
		"acknowledged at another seq": {kindS1, func(w *world, c *client) {
			w.store(t, msg(2, 1, 1, 1), msg(1, 1, 2, 1))
			c.rooms[room].acked(messageID{1, 1}, 1)
		}},
		"acknowledged and lost later": {kindS1, func(w *world, c *client) {
			w.store(t, msg(1, 1, 1, 1))
			c.rooms[room].acked(messageID{1, 1}, 1)
			w.journal.streams[room].rows[0].id = messageID{2, 1}
		}},
		"two rows at one seq": {kindS2, func(w *world, _ *client) {
			w.without = Without{ExpectedSeq: true}
			w.store(t, msg(1, 1, 1, 1))
			require.NoError(t, w.journal.append(room, 1, 0, []row{msg(2, 1, 1, 1)}))
		}},
		"a row of an old epoch": {kindS2, func(w *world, _ *client) {
			w.without = Without{Fence: true}
			w.store(t, msg(1, 1, 1, 1))
			w.journal.streams[room].epoch = 2
			require.NoError(t, w.journal.append(room, 1, 1, []row{msg(1, 2, 2, 1)}))
		}},
		"acknowledged behind what came later": {kindS2, func(w *world, c *client) {
			w.store(t, msg(1, 1, 1, 1), msg(2, 1, 2, 1))
			p := &publication{id: messageID{1, 1}, attempts: 1, floor: 2}
			c.rooms[room].out.list = []*publication{p}
			c.rooms[room].acked(p.id, 1)
		}},
		"delivered and not stored": {kindS2, func(_ *world, c *client) { c.rooms[room].take(message{1, 0, messageID{2, 1}}) }},
		"stored twice": {kindS3, func(w *world, _ *client) {
			w.store(t, msg(1, 1, 1, 1), msg(1, 1, 2, 1))
		}},
		"stored out of order": {kindS4, func(w *world, _ *client) { w.store(t, msg(1, 2, 1, 1), msg(1, 1, 2, 1)) }},
		"out of order after a refusal": {"", func(w *world, _ *client) {
			w.history.refused(room, messageID{1, 1})
			w.store(t, msg(1, 2, 1, 1), msg(1, 1, 2, 1))
		}},
		"a gap": {kindS5, func(w *world, c *client) {
			w.store(t, msg(2, 1, 1, 1), msg(2, 2, 2, 1))
			c.rooms[room].take(message{2, 1, messageID{2, 2}})
		}},
		"a repeat": {kindS5, func(w *world, c *client) {
			w.store(t, msg(2, 1, 1, 1))
			c.rooms[room].take(message{1, 0, messageID{2, 1}})
			c.rooms[room].take(message{1, 0, messageID{2, 1}})
		}},
		"a reset for nothing": {kindS5, func(_ *world, c *client) {
			c.receive(c.conn, toClient{kind: resetStream, room: room})
		}},
		"a member that is left behind": {kindL2, func(w *world, _ *client) { w.store(t, msg(2, 1, 1, 1)) }},
		"a lost session": {kindSession, func(_ *world, c *client) {
			c.token = 1
			c.receive(c.conn, toClient{kind: sessionOpened, token: 2, member: 9})
		}},
		"robbed in peace": {kindL6, func(w *world, _ *client) {
			w.now = warmUp + time.Second
			w.rooms[0].up = true
			w.history.claimed(room, &w.rooms[0].process, &w.rooms[1].process, 2)
		}},
		"a duel": {kindL6, func(w *world, _ *client) {
			for i := range 60 {
				w.now = faultsAt + time.Duration(i)*100*time.Millisecond
				w.history.claimed(room, &w.rooms[i%2].process, &w.rooms[1-i%2].process, uint64(i))
			}
		}},
		"takeovers that leave each other time": {"", func(w *world, _ *client) {
			for i := range 20 {
				w.now = faultsAt + time.Duration(i)*duelGap
				w.history.claimed(room, &w.rooms[i%2].process, &w.rooms[1-i%2].process, uint64(i))
			}
		}},
		"refused in peace": {kindHandOver, func(w *world, _ *client) {
			w.now = warmUp + time.Second
			w.history.refused(room, messageID{1, 1})
		}},
		"held up by a hand-over": {kindHandOver, func(w *world, c *client) {
			w.now = warmUp + time.Second
			w.store(t, msg(1, 1, 1, 1))
			w.history.handOver(room, &w.rooms[0].process)
			p := &publication{id: messageID{1, 1}, attempts: 1, began: w.now}
			w.now += time.Second
			c.rooms[room].out.list = []*publication{p}
			c.rooms[room].acked(p.id, 1)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(Options{Seed: 1})
			c := newClient(w, 1, 0)
			c.enter(room, true)
			c.rooms[room].placed, c.rooms[room].confirmed = true, true
			c.conn = &conn{w: w, client: c, g: w.gateways[0], clientOpen: true}
			w.clients = []*client{c}
			test.do(w, c)
			if test.kind == kindL2 || test.kind == "" && name == "nothing" {
				w.checkHeads(w.heads(), everybody)
			}
			w.history.checkStored()
			if test.kind == "" {
				require.Empty(t, w.history.violations)
				return
			}
			require.NotEmpty(t, w.history.violations)
			for _, v := range w.history.violations {
				require.Equal(t, test.kind, v.Kind, v)
			}
		})
	}
}

// store appends rows as their writer would.
func (w *world) store(t *testing.T, rows ...row) {
	t.Helper()
	s := w.journal.streams[busyRoom]
	if s.epoch == 0 {
		s.epoch = 1
	}
	for _, r := range rows {
		require.NoError(t, w.journal.append(busyRoom, s.epoch, s.last, []row{r}))
	}
}

// L1: a gateway that never answers is found.
func TestUnansweredPublishIsFound(t *testing.T) {
	t.Parallel()
	w := newWorld(Options{Seed: 1})
	g := w.gateways[0]
	g.start()
	c := newClient(w, 1, 0)
	c.enter(busyRoom, true)
	w.clients = []*client{c}
	w.after(0, c.begin)
	w.run(time.Second)
	require.True(t, c.opened)
	c.rooms[busyRoom].confirmed = true
	c.conn.core.rooms[busyRoom].joined = true
	g.cores[0].requests = nil
	w.without.Deadline = true // nobody is there to store it, and nobody says so
	c.rooms[busyRoom].publish()
	w.run(7 * time.Second)
	require.NotEmpty(t, w.history.violations)
	require.Equal(t, kindL1, w.history.violations[0].Kind)
}
