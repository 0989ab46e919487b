package gateway

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
)

// voyager is a client that keeps to the protocol: it resumes with its newest token and its cursors at the next gateway when
// its connection ends, and does again what was not answered.
type voyager struct {
	t        testing.TB
	name     string
	gateways []*bundle
	at       int

	c       *client
	pos     int // frames of c that were looked at
	token   string
	member  string
	attempt uint64
	rooms   map[string]*stay
	// doing is what the client wants and was not answered.
	doing step
}

// stay is a voyager's time in a room.
type stay struct {
	cursor uint64
	placed bool
	got    []string
	joined bool
}

// step is one thing that a client wants.
type step struct{ kind, room, content string }

func (s step) String() string { return s.kind + " " + s.room + " " + s.content }

func newVoyager(t testing.TB, name string, gateways ...*bundle) *voyager {
	return &voyager{t: t, name: name, gateways: gateways, rooms: map[string]*stay{}}
}

func (v *voyager) stay(room string) *stay {
	if v.rooms[room] == nil {
		v.rooms[room] = &stay{}
	}
	return v.rooms[room]
}

// connect opens or resumes the session, at the next gateway if this one is gone.
func (v *voyager) connect() {
	v.t.Helper()
	for {
		v.c = v.gateways[v.at].dialAt("/ws?hello=1")
		v.pos = 0
		v.attempt++
		hello := &clientv1.Hello{SessionToken: v.token, Attempt: v.attempt}
		for name, s := range v.rooms {
			if s.joined && !(v.doing.kind == "leave" && v.doing.room == name) {
				cursor := s.cursor
				hello.Rooms = append(hello.Rooms, &clientv1.RoomCursor{RoomId: name, AfterSeq: &cursor})
			}
		}
		text, err := codec.AppendJSON(nil, &clientv1.Envelope{Id: 1, Kind: &clientv1.Envelope_Hello{Hello: hello}})
		require.NoError(v.t, err)
		if v.c.trySend(string(text)) {
			if env := v.next(); env != nil {
				v.opened(env)
				return
			}
		}
		v.at++
		require.Less(v.t, v.at, len(v.gateways), "%s has nowhere left to go", v.name)
	}
}

// opened checks the session that a hello got: a resume is the same member's, and lists what the client is in. It may list
// one room more: the one whose join or leave was not answered.
func (v *voyager) opened(env *clientv1.Envelope) {
	v.t.Helper()
	s := env.GetSession()
	require.NotNil(v.t, s, "%s was told %v", v.name, env)
	if v.token != "" {
		require.True(v.t, s.GetResumed(), "%s did not get its session back", v.name)
		require.Equal(v.t, v.member, s.GetMemberId())
		for name, stay := range v.rooms {
			listed := slices.Contains(s.GetRooms(), name)
			switch {
			case stay.joined && v.doing != (step{"leave", name, ""}):
				require.True(v.t, listed, "%s is in %s, and its session is not", v.name, name)
			case v.doing.room != name:
				require.False(v.t, listed, "%s has left %s, and its session has not", v.name, name)
			}
		}
	}
	v.token, v.member = s.GetToken(), s.GetMemberId()
	v.covered(s.GetRooms())
}

// covered requires that the session's row lists every room that has the session for a member: whoever ends the session finds
// them there. What hello named does not count: the client is in all of that.
func (v *voyager) covered(listed []string) {
	v.t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(v.token)
	require.NoError(v.t, err)
	session := hex.EncodeToString(raw[:16])
	j := v.gateways[0].journal
	j.mu.Lock()
	defer j.mu.Unlock()
	for name, room := range j.rooms {
		if room.sessions[session].joined {
			require.Contains(v.t, listed, name, "the room has a session that does not know of it")
		}
	}
}

// next returns the next frame; nil: the connection ended.
func (v *voyager) next() *clientv1.Envelope {
	v.t.Helper()
	timeout := time.After(patience)
	for {
		v.c.mu.Lock()
		if v.pos < len(v.c.frames) {
			env := v.c.frames[v.pos]
			v.pos++
			v.c.mu.Unlock()
			return env
		}
		news, closed := v.c.news, v.c.closed
		v.c.mu.Unlock()
		if closed != nil {
			return nil
		}
		select {
		case <-news:
		case <-timeout:
			require.FailNow(v.t, "no frame came", "%s waits for the answer to %s", v.name, v.doing)
		}
	}
}

// do does a step until it is answered, whatever happens to gateways meanwhile.
func (v *voyager) do(s step) {
	v.t.Helper()
	v.doing = s
	for asked := false; ; {
		if !asked {
			asked = v.ask(s)
		}
		if asked {
			env := v.next()
			if env != nil {
				if v.take(env, s) {
					v.doing = step{}
					return
				}
				continue
			}
		}
		if v.c == nil || v.c.ended() {
			if v.c != nil {
				v.at++
				require.Less(v.t, v.at, len(v.gateways), "%s has nowhere left to go", v.name)
			}
			v.connect()
			asked = false
		}
	}
}

func (v *voyager) ask(s step) bool {
	if v.c == nil {
		return false
	}
	switch s.kind {
	case "join":
		return v.c.trySend(fmt.Sprintf(`{"join_room":{"room_id":%q}}`, s.room))
	case "leave":
		return v.c.trySend(fmt.Sprintf(`{"leave_room":{"room_id":%q}}`, s.room))
	default:
		return v.c.trySend(fmt.Sprintf(`{"message":{"target":%q,"content":%q,"message_id":%q}}`, s.room, s.content, s.content))
	}
}

// take takes a frame and says whether it answers the step.
func (v *voyager) take(env *clientv1.Envelope, s step) bool {
	v.t.Helper()
	switch k := env.GetKind().(type) {
	case *clientv1.Envelope_RoomJoined:
		stay := v.stay(k.RoomJoined.GetRoomId())
		if !stay.placed {
			stay.cursor, stay.placed = k.RoomJoined.GetSeq(), true
		}
		if s.kind == "join" && s.room == k.RoomJoined.GetRoomId() {
			stay.joined = true
			return true
		}
	case *clientv1.Envelope_RoomLeft:
		stay := v.stay(k.RoomLeft.GetRoomId())
		stay.joined, stay.placed = false, false
		return s.kind == "leave" && s.room == k.RoomLeft.GetRoomId()
	case *clientv1.Envelope_Ack:
		return k.Ack.GetMessageId() == s.content
	case *clientv1.Envelope_Message:
		v.hear(k.Message)
	case *clientv1.Envelope_Error:
		// Nothing is refused for good, and what is refused for the moment is done again.
		require.True(v.t, k.Error.GetRetryable(), "%s was told %v while it did %s", v.name, env, s)
		require.True(v.t, v.ask(s))
	}
	return false
}

// hear takes a message. The server itself keeps to the rule: no gap, no repeat (S5).
func (v *voyager) hear(m *clientv1.Message) {
	v.t.Helper()
	stay := v.stay(m.GetTarget())
	if v.doing.kind == "leave" && v.doing.room == m.GetTarget() {
		return // the stream may have begun anew, at the head
	}
	require.Equal(v.t, stay.cursor, m.GetPrevSeq(), "%s: a gap or a repeat in %s before %v", v.name, m.GetTarget(), m)
	stay.cursor = m.GetSeq()
	stay.got = append(stay.got, m.GetContent())
}

// hearUntil takes messages until the room's last one has that content.
func (v *voyager) hearUntil(room, content string) {
	v.t.Helper()
	for !slices.Contains(v.stay(room).got, content) {
		if env := v.next(); env != nil {
			v.take(env, step{})
			continue
		}
		v.at++
		v.connect()
	}
}

// trySend sends on a connection that may have ended.
func (c *client) trySend(text string) bool { return c.write(text) == nil }

func (c *client) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed != nil
}
