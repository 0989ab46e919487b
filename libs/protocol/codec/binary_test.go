package codec_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
)

func TestDecodeBinaryRefusals(t *testing.T) {
	t.Parallel()
	field := func(b []byte, num protowire.Number, value string) []byte {
		return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), value)
	}
	id := slices.Clip(protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 7))
	badUTF8 := field(nil, 2, "\xff") // Message.content
	for _, tc := range []struct {
		name  string
		frame []byte
		code  clientv1.ErrorCode
		id    uint32
	}{
		{"empty", nil, unknownKind, 0},
		{"only an id", id, unknownKind, 7},
		{"unknown kind", field(id, 99, "x"), unknownKind, 7},
		{"truncated", field(id, 16, "xx")[:4], badFrame, 7},
		{"two kinds", field(field(id, 28, ""), 29, ""), badFrame, 7},
		{"one kind twice", field(field(id, 28, ""), 28, ""), badFrame, 7},
		{"invalid UTF-8", field(id, 16, string(badUTF8)), badFrame, 7},
		{"not protobuf", []byte(`{"ping":{}}`), badFrame, 0},
		{"malformed body", field(id, 16, "\x0a\xff"), badFrame, 7},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			env, err := codec.DecodeBinary(tc.frame)
			require.Nil(t, env)
			var refused *codec.DecodeError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, tc.code, refused.Code, refused.Message)
			require.Equal(t, tc.id, refused.ID)
		})
	}
}

func TestEncodingRefusesInvalidUTF8(t *testing.T) {
	t.Parallel()
	for _, c := range []codec.Codec{codec.JSON{}, codec.Binary{}} {
		for _, env := range []*clientv1.Envelope{
			{Kind: &clientv1.Envelope_Message{Message: &clientv1.Message{Content: "a\xff"}}},
			{Kind: &clientv1.Envelope_Error{Error: &clientv1.Error{Message: "a\xff"}}},
		} {
			out, err := c.Append([]byte("kept"), env)
			require.Error(t, err)
			require.Equal(t, "kept", string(out))
		}
	}
}
