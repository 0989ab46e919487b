package codec_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
)

// FuzzDecodeJSON holds DecodeJSON to protojson: the same frames are accepted, with the same content, and what is accepted
// can be encoded and decoded again.
func FuzzDecodeJSON(f *testing.F) {
	paths, err := filepath.Glob(filepath.Join("testdata", "frames", "*.json"))
	require.NoError(f, err)
	for _, path := range paths {
		frame, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(frame)
	}
	for _, frame := range []string{
		`{}`, `{"id":3}`, `{"foo":{}}`, `{"message":null}`, `{"message":{"seq":"5 "}}`, `{"message":{"seq": 5 },"id":"7"}`,
		`{"message":{"seq":5e0}}`, `{"message":{"content":"\ud83d\ude00\/"}}`, `{"message":{"content":"\ud83d"}}`,
		`{"message":{"sent_at":"2026-01-02T03:04:05,123456789123Z"}}`, `{"message":{"sent_at":"2026-01-02T03:04:05.1234567891Z"}}`,
		`{"message":{"sent_at":"2026-01-02T03:04:05.123+25:00"}}`, `{"message":{},"message":{}}`, `{"ack":{"duplicate":truex}}`,
		`{"ack":{"duplicate":false,"seq":18446744073709551615}}`, `{"id":1,"id":2,"ack":{}}`, `{"ack":{},"message":{}}`,
		`{"message":{"target":"a","target":"b"}}`, "{\"message\":{\"content\":\"\xff\"}}", `{"joinRoom":{"afterSeq":"0"}}`,
		`{"id":4294967296,"ping":{}}`, `{"message":{"seq":01}}`, `{"message":{"seq":-0}}`, ` {"ping" : {} } `,
	} {
		f.Add([]byte(frame))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		want := &clientv1.Envelope{}
		wantErr := protojson.UnmarshalOptions{
			DiscardUnknown: true, RecursionLimit: 32, Resolver: (*protoregistry.Types)(nil),
		}.Unmarshal(frame, want)
		got, err := codec.DecodeJSON(frame)
		if err != nil {
			var refused *codec.DecodeError
			require.ErrorAs(t, err, &refused)
			require.Nil(t, got)
			require.True(t, utf8.ValidString(refused.Message))
			require.LessOrEqual(t, len(refused.Message), 160)
			if refused.Code == unknownKind {
				require.NoError(t, wantErr)
				require.Nil(t, want.GetKind())
				require.Equal(t, want.GetId(), refused.ID)
			} else {
				require.Error(t, wantErr)
			}
			return
		}
		require.NoError(t, wantErr)
		require.True(t, proto.Equal(want, got), "%s\nwant %v\n got %v", frame, want, got)
		again, err := codec.AppendJSON(nil, got)
		require.NoError(t, err)
		back, err := codec.DecodeJSON(again)
		require.NoError(t, err)
		require.True(t, proto.Equal(got, back), "%s", again)
	})
}

// FuzzEncodeJSON holds AppendJSON to protojson for any Envelope, and both codecs to being inverse to themselves.
func FuzzEncodeJSON(f *testing.F) {
	for _, env := range frames() {
		frame, err := proto.Marshal(env)
		require.NoError(f, err)
		f.Add(frame)
	}
	for _, content := range []string{"\x00\x1f\x7f\u0080", "a, b", `\"`, "\u2028", strings.Repeat("é", 100)} {
		frame, err := proto.Marshal(&clientv1.Envelope{Kind: &clientv1.Envelope_Error{Error: &clientv1.Error{Message: content}}})
		require.NoError(f, err)
		f.Add(frame)
		frame, err = proto.Marshal(&clientv1.Envelope{Kind: &clientv1.Envelope_Message{Message: &clientv1.Message{Content: content}}})
		require.NoError(f, err)
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		env := &clientv1.Envelope{}
		if (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, env) != nil {
			return
		}
		prefix := []byte("kept")
		frame, err := codec.AppendJSON(prefix, env)
		if _, wantErr := protojson.Marshal(env); wantErr != nil {
			require.Error(t, err)
			require.Equal(t, "kept", string(frame), "on an error dst is returned as it was")
			return
		}
		require.NoError(t, err)
		require.Equal(t, "kept", string(frame[:len(prefix)]))
		frame = frame[len(prefix):]
		requireSameAsProtojson(t, env, frame)
		if env.GetKind() == nil {
			return
		}
		back, err := codec.DecodeJSON(frame)
		if err != nil {
			// protojson writes 1,000,000,000 nanoseconds as the next second, which at the end of 9999 it cannot read.
			require.Contains(t, string(frame), `"10000-01-01T00:00:00Z"`)
			return
		}
		again, err := codec.AppendJSON(nil, back)
		require.NoError(t, err)
		require.Equal(t, string(frame), string(again))
	})
}

// FuzzDecodeBinary: no panic, and what is accepted comes back the same.
func FuzzDecodeBinary(f *testing.F) {
	for _, env := range frames() {
		frame, err := proto.Marshal(env)
		require.NoError(f, err)
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		env, err := codec.DecodeBinary(frame)
		if err != nil {
			var refused *codec.DecodeError
			require.ErrorAs(t, err, &refused)
			require.LessOrEqual(t, len(refused.Message), 160)
			return
		}
		require.NotNil(t, env.GetKind())
		again, err := codec.AppendBinary(nil, env)
		require.NoError(t, err)
		back, err := codec.DecodeBinary(again)
		require.NoError(t, err)
		require.True(t, proto.Equal(env, back))
	})
}
