package member

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// sent is a request that a Core sent.
type sent struct {
	node  string
	frame *roomv1.Frame
	avoid []string
}

// world records what a Core does and plays everything around it. Time passes only by hand.
type world struct {
	blocked []bool // whether the connection was open
	t       testing.TB
	core    *Core
	now     time.Time

	// nodes take requests in this order of preference; owner, when set and not avoided, first.
	nodes  []string
	owner  string
	down   map[string]bool
	noRoom bool
	busy   bool
	full   bool // the gate is
	inside bool // it has a place

	replies  []*clientv1.Envelope
	taken    int // replies that a test has looked at
	sent     []sent
	opens    []string
	members  []string // for whom
	tokens   []string // that are to be checked
	expiry   time.Time
	saves    []uint64
	saved    [][]string
	attached map[string]Attachment
	detached []string
	closed   clientv1.CloseCode
	more     bool // is told to be coming
	window   int  // bytes taken and not released
	done     map[*Command][]string
	wake     time.Time
}

func newWorld(t testing.TB, cfg Config) *world {
	w := &world{
		t: t, now: time.Unix(1_700_000_000, 0), nodes: []string{"rooms-1", "rooms-2"}, down: map[string]bool{},
		attached: map[string]Attachment{}, done: map[*Command][]string{},
	}
	cfg.Node, cfg.DC = "gateway-1", "local"
	w.core = NewCore(cfg, w, 100)
	return w
}

func (w *world) Reply(env *clientv1.Envelope) { w.reply(env) }
func (w *world) Page(env *clientv1.Envelope)  { w.reply(env) }
func (w *world) Room() bool                   { return !w.noRoom }
func (w *world) Entered()                     { w.inside = false }
func (w *world) Blocked(open bool)            { w.blocked = append(w.blocked, open) }
func (w *world) Later() time.Duration         { return 1500 * time.Millisecond }
func (w *world) Release(bytes int)            { w.window -= bytes }
func (w *world) Expire(at time.Time)          { w.expiry = at }
func (w *world) Authenticate(token string)    { w.tokens = append(w.tokens, token) }
func (w *world) OpenSession(member, token string, _ uint64) {
	w.members, w.opens = append(w.members, member), append(w.opens, token)
}
func (w *world) Owner(_, node string) { w.owner = node }

func (w *world) Enter() bool {
	require.False(w.t, w.inside, "entered twice")
	w.inside = true
	return !w.full
}

func (w *world) reply(env *clientv1.Envelope) {
	require.Zero(w.t, w.closed, "sent after close: %s", env)
	w.replies = append(w.replies, proto.CloneOf(env))
}

func (w *world) Close(code clientv1.CloseCode) {
	require.Zero(w.t, w.closed, "closed twice")
	w.inside = false
	w.closed = code
}

func (w *world) SaveRooms(version uint64, rooms []string) {
	require.LessOrEqual(w.t, len(w.saves), 0, "two saves at once")
	w.saves = append(w.saves, version)
	w.saved = append(w.saved, rooms)
}

func (w *world) Send(f *roomv1.Frame, avoid []string, span trace.Span) (string, error) {
	require.Zero(w.t, w.closed, "asked after close: %s", f)
	require.NotNil(w.t, span)
	if w.busy {
		return "", ErrBusy
	}
	order := slices.Clone(w.nodes)
	if w.owner != "" {
		order = append([]string{w.owner}, order...)
	}
	for _, shunned := range []bool{false, true} {
		for _, n := range order {
			if !w.down[n] && slices.Contains(avoid, n) == shunned {
				w.sent = append(w.sent, sent{n, proto.CloneOf(f), slices.Clone(avoid)})
				return n, nil
			}
		}
	}
	return "", ErrUnreachable
}

func (w *world) Attach(a Attachment) {
	w.attached[a.Room] = a
	for _, env := range a.First {
		w.reply(env)
	}
}

func (w *world) Rejoin(room string, id uint32) {
	a, ok := w.attached[room]
	require.True(w.t, ok)
	w.reply(&clientv1.Envelope{Id: id, Kind: &clientv1.Envelope_RoomJoined{RoomJoined: &clientv1.RoomJoined{RoomId: room, Seq: a.Cursor}}})
}

func (w *world) Detach(room string, last *clientv1.Envelope) {
	require.Contains(w.t, w.attached, room)
	delete(w.attached, room)
	w.detached = append(w.detached, room)
	if last != nil {
		w.reply(last)
	}
}

func (w *world) Wake(at time.Time) {
	if w.wake.IsZero() || at.Before(w.wake) {
		w.wake = at
	}
}

func (w *world) Done(cmd *Command, outcome string) { w.done[cmd] = append(w.done[cmd], outcome) }

// client sends a frame as JSON.
func (w *world) client(format string, args ...any) *Command {
	env, err := codec.DecodeJSON([]byte(fmt.Sprintf(format, args...)))
	cmd := &Command{Env: env, Bytes: 100, At: w.now, Span: noopSpan, More: w.more}
	if err != nil {
		cmd.Env, cmd.Err = nil, decodeError(err)
	}
	w.window += cmd.Bytes
	w.core.Frame(w.now, cmd)
	return cmd
}

// pass lets time go by in ticks, as the shell would.
func (w *world) pass(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(100 * time.Millisecond)
		if !w.wake.IsZero() && !w.now.Before(w.wake) {
			w.wake = w.core.Tick(w.now)
		}
	}
}

func (w *world) opened(rooms ...string) {
	w.core.SessionOpened(w.now, Opened{
		Token: "token", ID: "session", Generation: 3, Member: "calm-otter", Rooms: rooms, Resumed: len(rooms) > 0, ExpiresAt: w.now.Add(time.Hour),
	})
}

// open brings the core to where it takes commands, and drops what that said.
func (w *world) open() {
	w.core.Silence(w.now)
	w.opened()
	w.expect(`{"session":{"token":"token","member_id":"calm-otter","node":"gateway-1","dc":"local","expires_at":"2023-11-14T23:13:20Z"}}`)
}

func (w *world) save(err error) {
	require.NotEmpty(w.t, w.saves, "no save is running")
	version := w.saves[0]
	w.saves = nil
	w.core.RoomsSaved(w.now, version, err)
}

// last returns the last request sent.
func (w *world) last() sent {
	require.NotEmpty(w.t, w.sent, "nothing was sent")
	return w.sent[len(w.sent)-1]
}

// answer answers a request; from is where it went.
func (w *world) answer(s sent, kind any) {
	f := &roomv1.Frame{RoomId: s.frame.GetRoomId(), Connection: s.frame.GetConnection(), Request: s.frame.GetRequest()}
	switch k := kind.(type) {
	case *roomv1.Joined:
		f.Kind = &roomv1.Frame_Joined{Joined: k}
	case *roomv1.Left:
		f.Kind = &roomv1.Frame_Left{Left: k}
	case *roomv1.Published:
		f.Kind = &roomv1.Frame_Published{Published: k}
	case *roomv1.Moved:
		f.Kind = &roomv1.Frame_Moved{Moved: k}
	case *roomv1.Refused:
		f.Kind = &roomv1.Frame_Refused{Refused: k}
	case *roomv1.Page:
		f.Kind = &roomv1.Frame_Page{Page: k}
	case *roomv1.PresenceList:
		f.Kind = &roomv1.Frame_PresenceList{PresenceList: k}
	default:
		require.FailNow(w.t, "no such answer", "%T", kind)
	}
	w.core.Answer(w.now, s.node, f)
}

func refused(code clientv1.ErrorCode) *roomv1.Refused {
	return &roomv1.Refused{Code: int32(code), Message: "because"}
}

// stored answers a publish: every draft got a seq from first on.
func (w *world) stored(s sent, first uint64) {
	p := &roomv1.Published{}
	for i := range s.frame.GetPublish().GetDrafts() {
		p.Outcomes = append(p.Outcomes, &roomv1.Outcome{Seq: first + uint64(i)})
	}
	w.answer(s, p)
}

// join brings the member into a room.
func (w *world) join(room string) {
	w.client(`{"join_room":{"room_id":%q}}`, room)
	w.save(nil)
	w.answer(w.last(), &roomv1.Joined{Head: 7, Cursor: 7, Incarnation: 1, Epoch: 1})
	w.expect(fmt.Sprintf(`{"room_joined":{"room_id":%q,"seq":"7","incarnation":"1"}}`, room))
}

// expect checks all frames that were sent since the last look, in order. "*" stands for any.
func (w *world) expect(want ...string) {
	w.t.Helper()
	var got []string
	for _, env := range w.replies[w.taken:] {
		b, err := codec.AppendJSON(nil, env)
		require.NoError(w.t, err)
		got = append(got, string(b))
	}
	w.taken = len(w.replies)
	require.Len(w.t, got, len(want), "%v", got)
	for i := range want {
		if want[i] != "*" {
			require.JSONEq(w.t, want[i], got[i])
		}
	}
}

// expectError checks that exactly one error came.
func (w *world) expectError(code, room, message string) *clientv1.Error {
	w.t.Helper()
	fresh := w.replies[w.taken:]
	w.taken = len(w.replies)
	require.Len(w.t, fresh, 1, "%v", fresh)
	e := fresh[0].GetError()
	require.NotNil(w.t, e, "%v", fresh[0])
	require.Equal(w.t, code, e.GetCode(), "%v", e)
	require.Equal(w.t, room, e.GetRoomId())
	require.Equal(w.t, message, e.GetMessageId())
	require.NotEmpty(w.t, e.GetMessage())
	return e
}

func jsonOf(m proto.Message) string {
	b, err := protojson.Marshal(m)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
