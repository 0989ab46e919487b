package codec_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func message(seq uint64) *clientv1.Message {
	return &clientv1.Message{
		Target: "room-1", Content: "hello, \"wörld\"\n\\ 😀\u2028<b>", MessageId: "0198c6e1-0000-7000-8000-000000000001",
		SentAt:      timestamppb.New(time.Date(2026, 3, 4, 5, 6, 7, 890_000_000, time.UTC)),
		Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Tracestate: "a=b",
		Sender: "ann", Seq: seq, PrevSeq: seq - 1,
	}
}

// frames has one full frame of every kind, named like its kind.
func frames() map[string]*clientv1.Envelope {
	seven, zero := uint64(7), uint64(0)
	at := timestamppb.New(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC))
	return map[string]*clientv1.Envelope{
		"hello": {Id: 1, Kind: &clientv1.Envelope_Hello{Hello: &clientv1.Hello{
			Token: "jwt", SessionToken: "st", Attempt: 1_772_000_000_000, Rooms: []*clientv1.RoomCursor{
				{RoomId: "a:b", AfterSeq: &seven, AfterMessageId: "m", Incarnation: 1 << 63}, {RoomId: "c", AfterSeq: &zero}, {},
			},
		}}},
		"session": {Id: 1, Kind: &clientv1.Envelope_Session{Session: &clientv1.Session{
			Token: "st", MemberId: "ann", Rooms: []string{"a", "b"}, Resumed: true, Node: "gateway-1", Dc: "dc-a", ExpiresAt: at, TokenExpiresAt: at,
		}}},
		"join_room": {Id: 1, Kind: &clientv1.Envelope_JoinRoom{JoinRoom: &clientv1.JoinRoom{
			RoomId: "room-1", AfterSeq: &zero, AfterMessageId: "m", Incarnation: 9,
		}}},
		"room_joined": {Id: 1, Kind: &clientv1.Envelope_RoomJoined{RoomJoined: &clientv1.RoomJoined{
			RoomId: "room-1", Seq: 18446744073709551615, Recovered: true, Incarnation: 9,
		}}},
		"leave_room": {Id: 1, Kind: &clientv1.Envelope_LeaveRoom{LeaveRoom: &clientv1.LeaveRoom{RoomId: "room-1"}}},
		"room_left":  {Id: 1, Kind: &clientv1.Envelope_RoomLeft{RoomLeft: &clientv1.RoomLeft{RoomId: "room-1"}}},
		"message":    {Id: 1, Kind: &clientv1.Envelope_Message{Message: message(8)}},
		"ack": {Id: 1, Kind: &clientv1.Envelope_Ack{Ack: &clientv1.Ack{
			Target: "room-1", MessageId: "m", Seq: 8, Duplicate: true,
		}}},
		"signal": {Id: 1, Kind: &clientv1.Envelope_Signal{Signal: &clientv1.Signal{
			Target: "room-1", Type: "typing", Content: "{\"on\":true}", Sender: "ann",
		}}},
		"history": {Id: 1, Kind: &clientv1.Envelope_History{History: &clientv1.History{
			RoomId: "room-1", BeforeSeq: &seven, AfterSeq: &zero, Limit: 50,
		}}},
		"history_page": {Id: 1, Kind: &clientv1.Envelope_HistoryPage{HistoryPage: &clientv1.HistoryPage{
			RoomId: "room-1", Messages: []*clientv1.Message{message(8), {}, message(9)}, More: true,
		}}},
		"presence": {Id: 1, Kind: &clientv1.Envelope_Presence{Presence: &clientv1.Presence{RoomId: "room-1"}}},
		"presence_state": {Id: 1, Kind: &clientv1.Envelope_PresenceState{PresenceState: &clientv1.PresenceState{
			RoomId: "room-1", Count: 2, Members: []*clientv1.PresentMember{{MemberId: "ann", Connections: 2}, {MemberId: "bob"}},
		}}},
		"member_joined": {Kind: &clientv1.Envelope_MemberJoined{MemberJoined: &clientv1.MemberJoined{RoomId: "room-1", MemberId: "ann"}}},
		"member_left":   {Kind: &clientv1.Envelope_MemberLeft{MemberLeft: &clientv1.MemberLeft{RoomId: "room-1", MemberId: "ann"}}},
		"reset":         {Kind: &clientv1.Envelope_Reset_{Reset_: &clientv1.Reset{RoomId: "room-1", Seq: 3, Reason: "trimmed"}}},
		"reconnect":     {Kind: &clientv1.Envelope_Reconnect{Reconnect: &clientv1.Reconnect{AfterMs: 1500, Reason: "DRAIN"}}},
		"error": {Id: 1, Kind: &clientv1.Envelope_Error{Error: &clientv1.Error{
			Code: "RATE_LIMITED", Message: "slow down, please", Retryable: true, RetryAfterMs: 250, RoomId: "room-1", MessageId: "m",
			TraceId: "0af7651916cd43dd8448eb211c80319c",
		}}},
		"ping":    {Id: 1, Kind: &clientv1.Envelope_Ping{Ping: &clientv1.Ping{}}},
		"renew":   {Id: 1, Kind: &clientv1.Envelope_Renew{Renew: &clientv1.Renew{Token: "jwt"}}},
		"renewed": {Id: 1, Kind: &clientv1.Envelope_Renewed{Renewed: &clientv1.Renewed{ExpiresAt: at}}},
		"pong":    {Id: 1, Kind: &clientv1.Envelope_Pong{Pong: &clientv1.Pong{}}},
	}
}

func TestGoldenFrames(t *testing.T) {
	t.Parallel()
	all := frames()
	kinds := (&clientv1.Envelope{}).ProtoReflect().Descriptor().Oneofs().ByName("kind").Fields()
	require.Len(t, all, kinds.Len(), "every kind has a golden frame")
	for i := range kinds.Len() {
		name := string(kinds.Get(i).Name())
		env := all[name]
		require.NotNil(t, env, name)
		require.Equal(t, name, codec.Kind(env))

		frame, err := codec.AppendJSON(nil, env)
		require.NoError(t, err)
		path := filepath.Join("testdata", "frames", name+".json")
		if *update {
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, append(frame, '\n'), 0o644))
		}
		golden, err := os.ReadFile(path)
		require.NoError(t, err, "run the test with -update")
		require.Equal(t, string(bytes.TrimSuffix(golden, []byte("\n"))), string(frame))

		for _, c := range []codec.Codec{codec.JSON{}, codec.Binary{}} {
			frame, err := c.Append(nil, env)
			require.NoError(t, err)
			back, err := c.Decode(frame)
			require.NoError(t, err)
			require.True(t, proto.Equal(env, back), "%s: %s", c.Subprotocol(), frame)
		}
		requireSameAsProtojson(t, env, frame)
	}
}

// The empty form of every kind is a frame too.
func TestEmptyFrames(t *testing.T) {
	t.Parallel()
	kinds := (&clientv1.Envelope{}).ProtoReflect().Descriptor().Oneofs().ByName("kind").Fields()
	for i := range kinds.Len() {
		env := &clientv1.Envelope{}
		env.ProtoReflect().Mutable(kinds.Get(i))
		frame, err := codec.AppendJSON(nil, env)
		require.NoError(t, err)
		require.Equal(t, `{"`+string(kinds.Get(i).Name())+`":{}}`, string(frame))
		back, err := codec.DecodeJSON(frame)
		require.NoError(t, err)
		require.True(t, proto.Equal(env, back))
	}
}

// requireSameAsProtojson compares with protojson twice: as values, and as bytes without protojson's random spaces.
func requireSameAsProtojson(t *testing.T, env *clientv1.Envelope, frame []byte) {
	t.Helper()
	want, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(env)
	require.NoError(t, err)
	var wantValue, gotValue any
	require.NoError(t, json.Unmarshal(want, &wantValue))
	require.NoError(t, json.Unmarshal(frame, &gotValue))
	require.Equal(t, wantValue, gotValue)
	var compact bytes.Buffer
	require.NoError(t, json.Compact(&compact, want))
	require.Equal(t, compact.String(), string(frame))
}

func TestFromClient(t *testing.T) {
	t.Parallel()
	client := map[string]bool{
		"hello": true, "join_room": true, "leave_room": true, "message": true, "signal": true, "history": true, "presence": true,
		"ping": true, "renew": true,
	}
	for name, env := range frames() {
		require.Equal(t, client[name], codec.FromClient(env), name)
	}
	require.False(t, codec.FromClient(&clientv1.Envelope{}))
	refused := codec.UnknownKind(frames()["session"])
	require.EqualError(t, refused, `UNKNOWN_KIND: unknown kind "session"`)
	require.Equal(t, uint32(1), refused.ID)
}

func TestNegotiate(t *testing.T) {
	t.Parallel()
	both := []codec.Codec{codec.JSON{}, codec.Binary{}}
	for _, tc := range []struct {
		offered   []string
		supported []codec.Codec
		want      codec.Codec
	}{
		{nil, both, codec.JSON{}},
		{[]string{"parley.v1.proto"}, both, codec.Binary{}},
		{[]string{"x", "parley.v1.json", "parley.v1.proto"}, both, codec.JSON{}},
		{[]string{"parley.v1.proto", "parley.v1.json"}, both, codec.Binary{}},
		{[]string{"parley.v1.proto", "parley.v1.json"}, both[:1], codec.JSON{}},
		{[]string{"parley.v1.proto"}, both[:1], nil},
		{[]string{"x", ""}, both, nil},
		{nil, nil, nil},
	} {
		got, ok := codec.Negotiate(tc.offered, tc.supported...)
		require.Equal(t, tc.want, got)
		require.Equal(t, tc.want != nil, ok)
	}
	require.True(t, codec.JSON{}.Text())
	require.False(t, codec.Binary{}.Text())
}
