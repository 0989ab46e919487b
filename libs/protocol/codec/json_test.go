package codec_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
)

const (
	badFrame    = clientv1.ErrorCode_ERROR_CODE_BAD_FRAME
	unknownKind = clientv1.ErrorCode_ERROR_CODE_UNKNOWN_KIND
)

func TestDecodeJSONRefusals(t *testing.T) {
	t.Parallel()
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	for _, tc := range []struct {
		name, frame string
		code        clientv1.ErrorCode
		id          uint32
	}{
		{"empty", ``, badFrame, 0},
		{"space", `  `, badFrame, 0},
		{"not an object: array", `[]`, badFrame, 0},
		{"not an object: string", `"message"`, badFrame, 0},
		{"not an object: number", `1`, badFrame, 0},
		{"not an object: null", `null`, badFrame, 0},
		{"truncated", `{"id":7,"message":{"target":"r`, badFrame, 7},
		{"truncated behind the id", `{"id":7`, badFrame, 7},
		{"single quotes", `{'id':7}`, badFrame, 0},
		{"trailing comma", `{"id":7,"message":{},}`, badFrame, 7},
		{"trailing garbage", `{"id":7,"ping":{}} x`, badFrame, 7},
		{"two frames", `{"id":7,"ping":{}}{"id":8,"ping":{}}`, badFrame, 7},
		{"two kinds", `{"ping":{},"id":7,"message":{}}`, badFrame, 7},
		{"two kinds, message first", `{"message":{"target":"r"},"id":7,"ping":{}}`, badFrame, 7},
		{"one kind twice", `{"message":{},"message":{},"id":7}`, badFrame, 7},
		{"id twice", `{"id":7,"id":8,"message":{}}`, badFrame, 7},
		{"id twice around", `{"id":7,"message":{},"id":8}`, badFrame, 7},
		{"field twice", `{"message":{"target":"a","target":"a"},"id":7}`, badFrame, 7},
		{"wrong type", `{"message":{"content":5},"id":7}`, badFrame, 7},
		{"wrong type of a kind", `{"message":"hello","id":7}`, badFrame, 7},
		{"kind is an array", `{"id":7,"join_room":[]}`, badFrame, 7},
		{"unreadable time", `{"id":7,"message":{"sent_at":"yesterday"}}`, badFrame, 7},
		{"time with ten digits", `{"id":7,"message":{"sent_at":"2026-01-02T03:04:05.1234567891Z"}}`, badFrame, 7},
		{"time out of range", `{"id":7,"message":{"sent_at":"0000-01-02T03:04:05Z"}}`, badFrame, 7},
		{"time without zone", `{"id":7,"message":{"sent_at":"2026-01-02T03:04:05"}}`, badFrame, 7},
		{"negative seq", `{"id":7,"join_room":{"after_seq":-1}}`, badFrame, 7},
		{"fractional seq", `{"id":7,"join_room":{"after_seq":1.5}}`, badFrame, 7},
		{"seq over 64 bits", `{"id":7,"message":{"seq":"18446744073709551616"}}`, badFrame, 7},
		{"seq with a space", `{"id":7,"message":{"seq":"5 "}}`, badFrame, 7},
		{"negative id", `{"id":-1,"ping":{}}`, badFrame, 0},
		{"id over 32 bits", `{"id":4294967296,"ping":{}}`, badFrame, 0},
		{"id is an object", `{"id":{},"ping":{}}`, badFrame, 0},
		{"id as a string", `{"id":"7","ping":5}`, badFrame, 7},
		{"id as a float", `{"id":7.0e0,"ping":5}`, badFrame, 7},
		{"id escaped", `{"\u0069d":7,"ping":5}`, badFrame, 7},
		{"invalid UTF-8", "{\"id\":7,\"message\":{\"content\":\"\xff\"}}", badFrame, 7},
		{"control character", "{\"id\":7,\"message\":{\"content\":\"\n\"}}", badFrame, 7},
		{"lone surrogate", `{"id":7,"message":{"content":"\ud83d"}}`, badFrame, 7},
		{"bad escape", `{"id":7,"message":{"content":"\x"}}`, badFrame, 7},
		{"nested too deep", `{"id":7,"x":` + deep(40) + `}`, badFrame, 7},
		{"malformed and unknown", `{"id":7,"foo":{`, badFrame, 7},

		{"nothing", `{}`, unknownKind, 0},
		{"only an id", `{"id":3}`, unknownKind, 3},
		{"foo", `{"foo":{}}`, unknownKind, 0},
		{"foo with id", `{"foo":{},"id":"3"}`, unknownKind, 3},
		{"foo is a number", `{"id":3,"foo":1}`, unknownKind, 3},
		{"null kind", `{"id":3,"message":null}`, unknownKind, 3},
		{"bracketed name", `{"id":3,"[pkg.extension]":{}}`, unknownKind, 3},
		{"name in upper case", `{"id":3,"MESSAGE":{}}`, unknownKind, 3},
		{"nested within bounds", `{"id":3,"x":` + deep(20) + `}`, unknownKind, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			env, err := codec.DecodeJSON([]byte(tc.frame))
			require.Nil(t, env)
			var refused *codec.DecodeError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, tc.code, refused.Code, refused.Message)
			require.Equal(t, tc.id, refused.ID)
			require.NotEmpty(t, refused.Message)
			require.NotContains(t, refused.Message, "proto:")
		})
	}
}

func TestRefusalNamesTheUnknownKind(t *testing.T) {
	t.Parallel()
	for frame, want := range map[string]string{
		`{}`:                          "frame without a kind",
		`{"message":null}`:            "frame without a kind",
		`{"id":1,"joinRoom":null}`:    "frame without a kind",
		`{"publish":{}}`:              `unknown kind "publish"`,
		`{"message":null,"shout":{}}`: `unknown kind "shout"`,
	} {
		_, err := codec.DecodeJSON([]byte(frame))
		require.EqualError(t, err, "UNKNOWN_KIND: "+want, frame)
	}
}

func TestRefusalQuotesLittle(t *testing.T) {
	t.Parallel()
	for _, frame := range []string{
		`{"message":{"content":` + strings.Repeat("9", 60_000) + `}}`,
		`{"id":1,"message":"` + strings.Repeat("é", 30_000) + `"}`,
		`{"` + strings.Repeat("k", 60_000) + `":{}}`,
		`{"` + strings.Repeat("\u0001", 60_000) + `":{}}`,
	} {
		_, err := codec.DecodeJSON([]byte(frame))
		var refused *codec.DecodeError
		require.ErrorAs(t, err, &refused)
		require.LessOrEqual(t, len(refused.Message), 160)
	}
}

func TestDecodeJSONAccepts(t *testing.T) {
	t.Parallel()
	seq := uint64(5)
	for frame, want := range map[string]*clientv1.Envelope{
		`{"join_room":{"room_id":"room-1"}}`: {Kind: &clientv1.Envelope_JoinRoom{JoinRoom: &clientv1.JoinRoom{RoomId: "room-1"}}},
		`{"joinRoom":{"roomId":"r","afterSeq":"5"}}`: {Kind: &clientv1.Envelope_JoinRoom{
			JoinRoom: &clientv1.JoinRoom{RoomId: "r", AfterSeq: &seq},
		}},
		`{"join_room":{"after_seq":5.0}}`:  {Kind: &clientv1.Envelope_JoinRoom{JoinRoom: &clientv1.JoinRoom{AfterSeq: &seq}}},
		`{"join_room":{"after_seq":null}}`: {Kind: &clientv1.Envelope_JoinRoom{JoinRoom: &clientv1.JoinRoom{}}},
		`{"message":{"target":"room-1","content":"hello"}}`: {Kind: &clientv1.Envelope_Message{
			Message: &clientv1.Message{Target: "room-1", Content: "hello"},
		}},
		`{"message":{},"foo":{"bar":[1,{"baz":null}]},"id":4}`: {Id: 4, Kind: &clientv1.Envelope_Message{Message: &clientv1.Message{}}},
		`{"message":null,"ping":{}}`:                           {Kind: &clientv1.Envelope_Ping{Ping: &clientv1.Ping{}}},
		" {\n\t\"message\" : { \"seq\" : 7 , \"prev_seq\" : \"6\" }\r\n, \"id\" : 4294967295 } ": {
			Id: 4294967295, Kind: &clientv1.Envelope_Message{Message: &clientv1.Message{Seq: 7, PrevSeq: 6}},
		},
		`{"message":{"content":"a\n\"\\\/\b\f\r\té"}}`: {Kind: &clientv1.Envelope_Message{
			Message: &clientv1.Message{Content: "a\n\"\\/\b\f\r\té"},
		}},
		`{"message":{"content":"\ud83d\ude00"}}`: {Kind: &clientv1.Envelope_Message{
			Message: &clientv1.Message{Content: "😀"},
		}},
	} {
		got, err := codec.DecodeJSON([]byte(frame))
		require.NoError(t, err, frame)
		require.True(t, proto.Equal(want, got), "%s\n%s", frame, protojson.Format(got))
	}
}

func TestDecodedSharesNoMemory(t *testing.T) {
	t.Parallel()
	for _, c := range []codec.Codec{codec.JSON{}, codec.Binary{}} {
		want := &clientv1.Envelope{Kind: &clientv1.Envelope_Message{Message: &clientv1.Message{Target: "r", Content: "a\nb"}}}
		frame, err := c.Append(nil, want)
		require.NoError(t, err)
		got, err := c.Decode(frame)
		require.NoError(t, err)
		for i := range frame {
			frame[i] = 'x'
		}
		require.True(t, proto.Equal(want, got), c.Subprotocol())
	}
}

// A frame of 256 KiB takes milliseconds; anything quadratic in it would take a minute.
func TestDecodingIsLinear(t *testing.T) {
	t.Parallel()
	const n = 256 << 10
	fill := func(s string) string { return strings.Repeat(s, n/len(s)) }
	for name, frame := range map[string]string{
		"open objects":       fill(`{"a":`),
		"open arrays":        `{"a":` + fill(`[`),
		"unknown fields":     `{` + fill(`"a":1,`) + `"ping":{}}`,
		"unknown, no kind":   `{` + fill(`"a":1,`) + `"b":1}`,
		"unknown, malformed": `{` + fill(`"a":1,`) + `]`,
		"rooms":              `{"hello":{"rooms":[` + fill(`{},`) + `{}]}}`,
		"escapes":            `{"message":{"content":"` + fill(`\n`) + `"}}`,
		"open string":        `{"message":{"content":"` + fill(`\n`),
		"unicode escapes":    `{"message":{"content":"` + fill(`\u00e9`) + `"}}`,
		"digits":             `{"id":` + fill(`9`) + `}`,
		"exponent":           `{"id":1e` + fill(`9`) + `}`,
		"lines":              fill("\n") + `{"ping":5}`,
		"wide line":          `{"x":"` + fill("é") + `","ping":5}`,
		"spaces":             `{"message"` + fill(" ") + `:{}}`,
		"long name":          `{"` + fill(`k`) + `":{}}`,
	} {
		start := time.Now()
		_, _ = codec.DecodeJSON([]byte(frame))
		require.Less(t, time.Since(start), 10*time.Second, name)
	}
}
