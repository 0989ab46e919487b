package member

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/opskit/auth"
	"github.com/parley-rt/parley/libs/persistence"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// choices reads decisions from fuzzed bytes; when they are used up it always decides for 0.
type choices struct{ b []byte }

func (c *choices) next(n int) int {
	if len(c.b) == 0 {
		return 0
	}
	v := int(c.b[0]) % n
	c.b = c.b[1:]
	return v
}

// chaos drives a Core with arbitrary inputs and checks after each what must hold.
type chaos struct {
	*world
	in       *choices
	commands []*Command
	publish  map[string]*Command // by message id
	order    map[string][]string // message ids by room as received
	checked  int                 // of world.sent
	out      map[string]*roomv1.Frame
	first    map[string]int // position in order of the first draft not sent yet, by room
	messages int

	tokens bool            // the client must have one, and renews it
	seen   map[uint64]bool // requests whose rights were checked
}

// L1, S4: whatever comes in whatever order, nothing panics, every command is answered exactly once, publishes in time,
// and at most one batch of a room is out, in the client's order, the same each time it is sent.
func FuzzCore(f *testing.F) {
	f.Add([]byte{0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
	f.Add([]byte{0, 4, 0, 1, 4, 0, 0, 5, 0, 2, 0, 0, 2, 0, 0, 1, 6, 0, 0, 1, 1, 7, 2, 7, 3, 8, 9, 1, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) { runChaos(t, data, false) })
}

// The same with tokens that are renewed with more rights and fewer: nothing is asked of a room that the token does not allow, and
// the client is in no room that it does not allow.
func FuzzCoreWithTokens(f *testing.F) {
	f.Add([]byte{12, 13, 0, 8, 2, 1, 0, 0, 7, 0, 5, 3, 0, 12, 13, 4})
	f.Fuzz(func(t *testing.T, data []byte) { runChaos(t, data[:min(len(data), 2000)], true) }) // checks look at all there was
}

// TestCoreUnderChaos is FuzzCore over long random inputs.
func TestCoreUnderChaos(t *testing.T) {
	t.Parallel()
	for seed := range uint64(chaosRuns) {
		r := rand.New(rand.NewPCG(seed, 1))
		data := make([]byte, 50+r.IntN(600))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		// The session is opened in most runs, or little would happen.
		if seed%4 != 0 {
			data = append([]byte{0, 8, byte(1 + r.IntN(2))}, data...)
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runChaos(t, data, false) })
		t.Run(fmt.Sprint(seed, " with tokens"), func(t *testing.T) { runChaos(t, append([]byte{12, 13, 0}, data...), true) })
	}
}

const chaosRuns = 300

func runChaos(t *testing.T, data []byte, tokens bool) {
	c := &chaos{
		tokens: tokens, seen: map[uint64]bool{},
		world: newWorld(t, Config{Authenticate: tokens, MaxRooms: 3, BatchMessages: 3, BatchBytes: 200}), in: &choices{data},
		publish: map[string]*Command{}, order: map[string][]string{}, out: map[string]*roomv1.Frame{}, first: map[string]int{},
	}
	for len(c.in.b) > 0 && c.closed == 0 {
		c.step()
		c.check()
	}
	c.settle()
}

func (c *chaos) step() {
	kinds := 12
	if c.tokens {
		kinds = 14
	}
	switch c.in.next(kinds) {
	case 12:
		c.token()
	case 13:
		c.authenticated()
	case 0:
		c.core.Silence(c.now)
	case 1, 2, 3, 4:
		c.command()
	case 5, 6:
		c.reply()
	case 7:
		if len(c.saves) > 0 {
			c.save([]error{nil, nil, nil, nil, nil, errors.New("away"), errors.New("away"), persistence.ErrSessionReplaced, persistence.ErrSessionUnknown}[c.in.next(9)])
		}
	case 8:
		c.session()
	case 9:
		c.pass(time.Duration(c.in.next(30)+1) * 100 * time.Millisecond)
	case 10:
		node := []string{"rooms-1", "rooms-2"}[c.in.next(2)]
		c.down[node] = !c.down[node]
		if c.down[node] {
			c.core.LinkDown(c.now, node)
		} else {
			c.core.LinkLost(c.now, node)
		}
	case 11:
		switch c.in.next(6) {
		case 5:
			c.evict()
		case 0:
			c.busy = !c.busy
		case 1:
			c.noRoom = !c.noRoom
		case 2:
			c.core.Drained(c.now)
		case 3:
			if c.in.next(8) == 7 {
				c.core.Drain(c.now, uint32(c.in.next(4)*1000))
			}
		case 4:
			if c.in.next(8) == 7 {
				c.core.Replaced()
			}
		}
	}
}

// token sends one, as the client's first frame or to renew another.
func (c *chaos) token() {
	text := `{"id":9,"renew":{"token":"jwt"}}`
	if c.core.phase == phaseWaiting {
		text = `{"id":9,"hello":{"token":"jwt","session_token":"t","rooms":[{"room_id":"a","after_seq":"3"},{"room_id":"d"}]}}`
	}
	c.commands = append(c.commands, c.client("%s", text))
}

// authenticated answers the check of a token: with some rights, another's, or not at all.
func (c *chaos) authenticated() {
	if !c.proving() {
		return
	}
	p := &Principal{Member: "calm-otter", ExpiresAt: c.now.Add(time.Hour)}
	var err error
	switch n := c.in.next(8); n {
	case 6:
		p, err = nil, []error{&auth.RefusedError{Reason: auth.ReasonExpired}, auth.ErrKeys}[c.in.next(2)]
	case 7:
		p.Member = "eve"
	default:
		p.Grants, err = auth.NewGrants([][]auth.Grant{
			{{Pattern: "*", May: auth.Ordinary}},
			{{Pattern: "a", May: auth.Join}, {Pattern: "b", May: auth.Ordinary}},
			{{Pattern: "*", May: auth.Join | auth.Publish}},
			{{Pattern: "c", May: auth.Ordinary}},
			{},
			{{Pattern: "*", May: auth.Ordinary &^ auth.Join}, {Pattern: "d", May: auth.Join}},
		}[n])
		require.NoError(c.t, err)
	}
	c.core.Authenticated(c.now, p, err)
}

// proving says that a token is being checked.
func (c *chaos) proving() bool {
	return c.core.phase == phaseProving || c.core.phase == phaseOpen && c.core.renewal != nil
}

// rights checks what a step has asked of rooms.
func (c *chaos) rights() {
	for _, s := range c.sent[c.checked:] {
		var needs auth.Capability
		switch s.frame.GetKind().(type) {
		case *roomv1.Frame_Join:
			needs = auth.Join
		case *roomv1.Frame_Publish, *roomv1.Frame_Signal:
			needs = auth.Publish
		case *roomv1.Frame_Read:
			needs = auth.History
		case *roomv1.Frame_PresenceQuery:
			needs = auth.Presence
		}
		number := s.frame.GetRequest()
		if !c.seen[number] { // what was asked while it was allowed is asked again until it is answered
			require.True(c.t, c.core.may(needs, s.frame.GetRoomId()), "%v", s.frame)
		}
		c.seen[number] = number != 0
	}
	for room := range c.attached {
		require.True(c.t, c.core.may(auth.Join, room), "in %s", room)
	}
}

// evict lets the room take the member out, or lets the news of that come late.
func (c *chaos) evict() {
	room := []string{"a", "b", "c", "d"}[c.in.next(4)]
	a, ok := c.attached[room]
	if ok && c.in.next(3) == 0 { // late: it has joined again since
		c.core.Evicted(c.now, room, a.Number-1)
		require.True(c.t, c.core.rooms.At(room).attached)
		return
	}
	delete(c.attached, room) // the hub did that
	c.core.Evicted(c.now, room, a.Number)
	if r := c.core.rooms.At(room); ok && r != nil {
		require.False(c.t, r.joined || r.attached)
	}
}

func (c *chaos) command() {
	room := []string{"a", "b", "c", "d", "no room"}[c.in.next(5)]
	id := c.in.next(3)
	var text string
	switch c.in.next(12) {
	case 0, 1:
		text = fmt.Sprintf(`{"id":%d,"join_room":{"room_id":%q}}`, id, room)
	case 2:
		text = fmt.Sprintf(`{"id":%d,"join_room":{"room_id":%q,"after_seq":%d}}`, id, room, c.in.next(5))
	case 3:
		text = fmt.Sprintf(`{"id":%d,"leave_room":{"room_id":%q}}`, id, room)
	case 4, 5, 6, 7:
		c.messages++
		text = fmt.Sprintf(`{"id":%d,"message":{"target":%q,"message_id":"m%d"}}`, id, room, c.messages)
		if room != "no room" {
			c.order[room] = append(c.order[room], fmt.Sprintf("m%d", c.messages))
		}
	case 8:
		text = fmt.Sprintf(`{"id":%d,"signal":{"target":%q}}`, id, room)
	case 9:
		text = fmt.Sprintf(`{"id":%d,"history":{"room_id":%q,"before_seq":%d}}`, id, room, c.in.next(3))
	case 10:
		text = fmt.Sprintf(`{"id":%d,"presence":{"room_id":%q}}`, id, room)
	case 11:
		text = []string{
			`{"ping":{}}`, `nonsense`, `{}`, `{"ack":{}}`,
			`{"hello":{"session_token":"t","rooms":[{"room_id":"a","after_seq":"3"},{"room_id":"b"},{"room_id":"b"},{"room_id":"x y"},{"room_id":"d"}]}}`,
		}[c.in.next(5)]
	}
	cmd := c.client("%s", text)
	c.commands = append(c.commands, cmd)
	if m := cmd.Env.GetMessage(); m != nil {
		c.publish[m.GetMessageId()] = cmd
	}
}

func (c *chaos) session() {
	if len(c.opens) == 0 || c.core.phase != phaseOpening {
		return
	}
	switch c.in.next(4) {
	case 0:
		c.core.SessionOpened(c.now, Opened{Err: persistence.ErrUnavailable})
	case 1:
		c.opened("a", "c")
	default:
		c.opened()
	}
}

// reply answers one of the last requests, perhaps twice, perhaps wrongly.
func (c *chaos) reply() {
	if len(c.sent) == 0 {
		return
	}
	s := c.sent[max(0, len(c.sent)-1-c.in.next(4))]
	switch c.in.next(8) {
	case 0:
		c.answer(s, &roomv1.Moved{Owner: []string{"", "rooms-1", "rooms-2", "rooms-3"}[c.in.next(4)]})
	case 1:
		code := []clientv1.ErrorCode{
			clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE, clientv1.ErrorCode_ERROR_CODE_UNKNOWN_OUTCOME, clientv1.ErrorCode_ERROR_CODE_BUSY,
			clientv1.ErrorCode_ERROR_CODE_NOT_JOINED, clientv1.ErrorCode_ERROR_CODE_BANNED, 77,
		}[c.in.next(6)]
		c.answer(s, &roomv1.Refused{Code: int32(code), Message: "no", RetryAfterMs: uint32(c.in.next(3) * 1000)})
	default:
		c.positive(s)
	}
}

func (c *chaos) positive(s sent) {
	switch k := s.frame.GetKind().(type) {
	case *roomv1.Frame_Join:
		c.answer(s, &roomv1.Joined{Head: 5, Cursor: 3, Recovered: true, ResetReason: int32(c.in.next(4))})
	case *roomv1.Frame_Leave:
		c.answer(s, &roomv1.Left{})
	case *roomv1.Frame_Publish:
		p := &roomv1.Published{}
		for i := range k.Publish.GetDrafts() {
			o := &roomv1.Outcome{Seq: uint64(10 + i)}
			if c.in.next(5) == 4 {
				o = &roomv1.Outcome{Refused: refused(clientv1.ErrorCode_ERROR_CODE_MUTED)}
			}
			p.Outcomes = append(p.Outcomes, o)
		}
		c.answer(s, p)
	case *roomv1.Frame_Read:
		c.answer(s, &roomv1.Page{})
	case *roomv1.Frame_PresenceQuery:
		c.answer(s, &roomv1.PresenceList{})
	}
}

// check looks at what was sent since the last look.
func (c *chaos) check() {
	t := c.t
	c.rights()
	for ; c.checked < len(c.sent); c.checked++ {
		f := c.sent[c.checked].frame
		p := f.GetPublish()
		if p == nil {
			continue
		}
		room := f.GetRoomId()
		if old := c.out[room]; old != nil && old.GetRequest() == f.GetRequest() {
			require.Equal(t, jsonOf(old), jsonOf(f), "a batch changed between two sends")
			continue
		} else if old != nil {
			for _, d := range old.GetPublish().GetDrafts() {
				require.Len(t, c.done[c.publish[d.GetMessageId()]], 1, "a second batch was sent before all of the first was answered")
			}
		}
		c.out[room] = f
		order := c.order[room]
		at := c.first[room]
		for _, d := range p.GetDrafts() {
			for at < len(order) && order[at] != d.GetMessageId() {
				at++ // those between were answered without being sent
			}
			require.Less(t, at, len(order), "%s was sent out of order", d.GetMessageId())
			at++
		}
		c.first[room] = at
	}
	for _, cmd := range c.commands {
		require.LessOrEqual(t, len(c.done[cmd]), 1, "answered twice: %s", jsonOf(cmd.Env))
		if cmd.Env.GetMessage() != nil && c.closed == 0 && c.now.Sub(cmd.At) >= 5*time.Second {
			require.Len(t, c.done[cmd], 1, "not answered in time: %s", jsonOf(cmd.Env))
		}
	}
}

// settle lets the rest happen and checks the end.
func (c *chaos) settle() {
	t := c.t
	if c.closed == 0 {
		c.core.Silence(c.now)
		if c.closed == 0 && c.proving() {
			c.core.Authenticated(c.now, nil, auth.ErrKeys)
		}
	}
	if c.closed == 0 {
		if c.core.phase == phaseOpening {
			c.opened()
		}
		for c.closed == 0 && c.proving() { // one after the other
			c.core.Authenticated(c.now, nil, auth.ErrKeys)
		}
		for range 100 {
			if len(c.saves) == 0 || c.closed != 0 {
				break
			}
			c.save(nil)
		}
		c.noRoom = false
		c.core.Drained(c.now)
		c.pass(12 * time.Second) // twice what a command may take: some wait for others
		c.check()
		for range 100 {
			if len(c.saves) == 0 || c.closed != 0 {
				break
			}
			c.save(nil)
			c.pass(6 * time.Second)
		}
	}
	if c.closed == 0 {
		require.True(t, c.core.Idle(), "something is never answered")
		answers := map[string]int{}
		for _, env := range c.replies {
			answers[env.GetAck().GetMessageId()+env.GetError().GetMessageId()]++
		}
		for id, cmd := range c.publish {
			require.Len(t, c.done[cmd], 1, id)
			require.Equal(t, 1, answers[id], "publish %s", id)
		}
	}
	c.core.Stop()
	for _, cmd := range c.commands {
		require.Len(t, c.done[cmd], 1, "%s", jsonOf(cmd.Env))
	}
	require.Zero(t, c.window, "the read window leaks")
	require.Empty(t, c.attached, "the hub still has the connection")
}

// Frames of arbitrary bytes never panic the decoder and the Core behind it, and are answered.
func FuzzFrame(f *testing.F) {
	for _, s := range []string{`{"ping":{}}`, `{"message":{"target":"a","sent_at":"2020-01-01T00:00:00Z"}}`, `{"hello":{"rooms":[{}]}}`, `{"history":{"room_id":"a"}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		w := newWorld(t, Config{})
		w.open()
		w.join("a")
		env, err := codec.DecodeJSON(data)
		cmd := &Command{Env: env, Bytes: 1, At: w.now, Span: noopSpan}
		if err != nil {
			cmd.Env, cmd.Err = nil, decodeError(err)
		}
		w.window++
		w.core.Frame(w.now, cmd)
		w.pass(6 * time.Second)
		w.core.Stop()
		require.Len(t, w.done[cmd], 1)
		require.Zero(t, w.window)
	})
}
