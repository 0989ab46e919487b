package protocol

import (
	"context"
	"fmt"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/e2e/wire"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	parley "github.com/parley-rt/parley/sdk/go"
)

// peer is a connection that speaks one of the subprotocols.
type peer struct {
	t     *testing.T
	ws    *websocket.Conn
	codec codec.Codec
}

func dialPeer(t *testing.T, endpoint string, c codec.Codec) *peer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wire.Patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, endpoint, &websocket.DialOptions{Subprotocols: []string{c.Subprotocol()}})
	require.NoError(t, err)
	require.Equal(t, c.Subprotocol(), ws.Subprotocol())
	t.Cleanup(func() { _ = ws.CloseNow() })
	return &peer{t, ws, c}
}

func (p *peer) kind() websocket.MessageType {
	if p.codec.Text() {
		return websocket.MessageText
	}
	return websocket.MessageBinary
}

// say sends what is written as JSON, in the peer's own encoding.
func (p *peer) say(format string, args ...any) {
	p.t.Helper()
	env, err := codec.DecodeJSON(fmt.Appendf(nil, format, args...))
	require.NoError(p.t, err)
	frame, err := p.codec.Append(nil, env)
	require.NoError(p.t, err)
	require.NoError(p.t, p.ws.Write(p.t.Context(), p.kind(), frame))
}

// hear returns the next frame of a kind.
func (p *peer) hear(kind string) *clientv1.Envelope {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), wire.Patience)
	defer cancel()
	for {
		got, frame, err := p.ws.Read(ctx)
		require.NoError(p.t, err, "waiting for %s", kind)
		require.Equal(p.t, p.kind(), got)
		env, err := p.codec.Decode(frame)
		require.NoError(p.t, err)
		if codec.Kind(env) == kind {
			return env
		}
	}
}

// converse has a conversation in a room and returns what was said in it, without what differs from one to the next.
func converse(t *testing.T, endpoint, room string, publisher, reader codec.Codec) []*clientv1.Envelope {
	t.Helper()
	ada, bob := dialPeer(t, endpoint, publisher), dialPeer(t, endpoint, reader)
	var heard []*clientv1.Envelope
	bob.say(`{"id":1,"join_room":{"room_id":%q}}`, room)
	heard = append(heard, bob.hear("room_joined"))
	ada.say(`{"id":1,"join_room":{"room_id":%q}}`, room)
	heard = append(heard, ada.hear("room_joined"))
	ada.say(`{"id":2,"message":{"target":%q,"content":"grüße \u0000\u2028😀","message_id":"m1","sent_at":"2026-05-04T12:00:00.123456789Z","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}`, room)
	heard = append(heard, ada.hear("ack"), bob.hear("message"))
	ada.say(`{"id":3,"message":{"target":%q,"content":"","message_id":"m1"}}`, room)
	heard = append(heard, ada.hear("ack"))
	bob.say(`{"id":4,"history":{"room_id":%q,"after_seq":"0"}}`, room)
	heard = append(heard, bob.hear("history_page"))
	bob.say(`{"signal":{"target":%q,"type":"typing","content":"…"}}`, room)
	heard = append(heard, ada.hear("signal"))
	ada.say(`{"id":5,"history":{"room_id":%q,"after_seq":"0","before_seq":"9"}}`, room)
	heard = append(heard, ada.hear("error"))
	ada.say(`{"id":6,"leave_room":{"room_id":%q}}`, room)
	heard = append(heard, ada.hear("room_left"))
	for _, env := range heard {
		forget(env)
	}
	return heard
}

// forget clears who, where and which room it was.
func forget(env *clientv1.Envelope) {
	for _, m := range append(env.GetHistoryPage().GetMessages(), env.GetMessage()) {
		if m != nil {
			m.Target, m.Sender = "", ""
		}
	}
	switch k := env.GetKind().(type) {
	case *clientv1.Envelope_RoomJoined:
		k.RoomJoined.RoomId, k.RoomJoined.Incarnation = "", 0
	case *clientv1.Envelope_RoomLeft:
		k.RoomLeft.RoomId = ""
	case *clientv1.Envelope_Ack:
		k.Ack.Target = ""
	case *clientv1.Envelope_HistoryPage:
		k.HistoryPage.RoomId = ""
	case *clientv1.Envelope_Signal:
		k.Signal.Target, k.Signal.Sender = "", ""
	case *clientv1.Envelope_Error:
		k.Error.RoomId, k.Error.TraceId = "", ""
	}
}

// The two subprotocols are two spellings of one conversation, also when each side speaks another.
func TestSubprotocolsSayTheSame(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		want := converse(t, endpoint, newRoom(), codec.JSON{}, codec.JSON{})
		for _, pair := range [][2]codec.Codec{{codec.Binary{}, codec.Binary{}}, {codec.JSON{}, codec.Binary{}}, {codec.Binary{}, codec.JSON{}}} {
			got := converse(t, endpoint, newRoom(), pair[0], pair[1])
			require.Len(t, got, len(want))
			for i := range want {
				require.True(t, proto.Equal(want[i], got[i]), "%v and %v:\n%v\n%v", pair[0].Subprotocol(), pair[1].Subprotocol(), want[i], got[i])
			}
		}
	})
}

// A message of the other kind closes the connection with 1003, and a frame that cannot be read gets an error.
func TestWrongKindOfMessage(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		for _, c := range []codec.Codec{codec.JSON{}, codec.Binary{}} {
			p := dialPeer(t, endpoint, c)
			p.say(`{"id":1,"ping":{}}`)
			p.hear("pong")
			require.NoError(t, p.ws.Write(t.Context(), p.kind(), []byte("{")))
			require.Equal(t, "BAD_FRAME", p.hear("error").GetError().GetCode())
			other := websocket.MessageText
			if c.Text() {
				other = websocket.MessageBinary
			}
			require.NoError(t, p.ws.Write(t.Context(), other, []byte("{}")))
			ctx, cancel := context.WithTimeout(t.Context(), wire.Patience)
			var err error
			for err == nil {
				_, _, err = p.ws.Read(ctx)
			}
			cancel()
			require.Equal(t, websocket.StatusUnsupportedData, websocket.CloseStatus(err), "%v", err)
		}
	})
}

// The SDK speaks either, and its users notice no difference.
func TestSDKSpeaksBoth(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		name := newRoom()
		for _, binary := range []bool{true, false} {
			client, err := parley.Dial(t.Context(), endpoint, parley.Config{Binary: binary})
			require.NoError(t, err)
			defer func() { require.NoError(t, client.Close(context.WithoutCancel(t.Context()))) }()
			room, err := client.Join(t.Context(), name, parley.JoinOptions{})
			require.NoError(t, err)
			ack, err := room.Publish(t.Context(), fmt.Sprint("binary: ", binary), parley.PublishOptions{})
			require.NoError(t, err)
			page, err := room.History(t.Context(), parley.HistoryOptions{})
			require.NoError(t, err)
			require.Equal(t, ack.Seq, page.Messages[len(page.Messages)-1].Seq)
			require.Equal(t, fmt.Sprint("binary: ", binary), page.Messages[len(page.Messages)-1].Content)
		}
	})
}
