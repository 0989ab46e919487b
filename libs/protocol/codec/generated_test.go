package codec_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
)

// TestDecodeJSONLikeProtojson compares on frames made of pieces that a hand-written decoder gets wrong: bytes at random
// would hardly ever be valid enough to tell.
func TestDecodeJSONLikeProtojson(t *testing.T) {
	t.Parallel()
	const rounds = 30_000
	g := generator{r: rand.New(rand.NewPCG(1, 2))}
	accepted, unknown := 0, 0
	for range rounds {
		frame := g.frame()
		want := &clientv1.Envelope{}
		wantErr := protojson.UnmarshalOptions{
			DiscardUnknown: true, RecursionLimit: 32, Resolver: (*protoregistry.Types)(nil),
		}.Unmarshal([]byte(frame), want)
		got, err := codec.DecodeJSON([]byte(frame))
		switch {
		case wantErr != nil:
			var refused *codec.DecodeError
			require.ErrorAs(t, err, &refused, "%s\n%v", frame, wantErr)
			require.Equal(t, badFrame, refused.Code, frame)
		case want.GetKind() == nil:
			unknown++
			var refused *codec.DecodeError
			require.ErrorAs(t, err, &refused, frame)
			require.Equal(t, unknownKind, refused.Code, frame)
			require.Equal(t, want.GetId(), refused.ID, frame)
		default:
			accepted++
			require.NoError(t, err, frame)
			require.True(t, proto.Equal(want, got), "%s\nwant %v\n got %v", frame, want, got)
		}
	}
	// The comparison is worth something only when all outcomes are common.
	require.Greater(t, accepted, rounds/10)
	require.Greater(t, unknown, rounds/100)
	require.Less(t, accepted+unknown, rounds*9/10)
}

type generator struct{ r *rand.Rand }

func (g generator) pick(from ...string) string { return from[g.r.IntN(len(from))] }

// usually returns the first choice except in one case of n.
func (g generator) usually(n int, first string, others ...string) string {
	if g.r.IntN(n) > 0 {
		return first
	}
	return g.pick(others...)
}

func (g generator) space() string { return g.usually(20, "", " ", "\n", "\t\r ", "\v", "\u00a0") }

func (g generator) frame() string {
	var fields []string
	for range 1 + g.r.IntN(2) {
		fields = append(fields, g.field(
			g.pick(`"message"`, `"message"`, `"ack"`, `"ack"`, `"signal"`, `"joinRoom"`, `"ping"`, `"foo"`), g.body))
	}
	if g.r.IntN(2) == 0 {
		fields = append(fields, g.field(`"id"`, g.number))
	}
	g.r.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	if g.r.IntN(3) > 0 {
		fields = fields[:1]
	}
	return g.object(fields) + g.usually(40, "", "x", "{}", ",", "\x00", "//")
}

func (g generator) object(fields []string) string {
	return g.space() + g.usually(60, "{", "[", "") + strings.Join(fields, g.usually(60, ",", ",,", "", ";")) +
		g.usually(60, "", ",") + g.usually(60, "}", "]", "", "}}") + g.space()
}

func (g generator) field(name string, value func() string) string {
	name = g.usually(50, name, `"\u0069d"`, `"[x]"`, `message`, `""`, `"mes`+"\xff"+`sage"`)
	return g.space() + name + g.space() + g.usually(60, ":", "=", "", "::") + g.space() + value() + g.space()
}

func (g generator) body() string {
	if g.r.IntN(15) == 0 {
		return g.pick("null", "{}", "[]", `"x"`, "5", "true", "{{}}", `{"a":[1,{"b":null}]}`)
	}
	var fields []string
	for range g.r.IntN(4) {
		switch g.r.IntN(6) {
		case 0, 1:
			fields = append(fields, g.field(g.pick(`"target"`, `"content"`, `"message_id"`, `"messageId"`, `"type"`, `"other"`), g.text))
		case 2, 3:
			fields = append(fields, g.field(g.pick(`"seq"`, `"prev_seq"`, `"after_seq"`), g.number))
		case 4:
			fields = append(fields, g.field(`"sent_at"`, g.time))
		case 5:
			fields = append(fields, g.field(`"duplicate"`, func() string {
				return g.pick("true", "false", "null", `"true"`, "truex", "True", "1", "tru", "false.", "true+")
			}))
		}
	}
	return g.object(fields)
}

func (g generator) text() string {
	var b strings.Builder
	b.WriteByte('"')
	for range g.r.IntN(5) {
		b.WriteString(g.usually(4, g.pick("a", "é", "😀", " ", "\x7f", "\u2028", "{\\\"a\\\":1}", ","),
			`\n`, `\"`, `\\`, `\/`, `\b`, `\f`, `\r`, `\t`, `\u00e9`, `\ud83d\ude00`, `\ud83d`, `\udc00`, `\u0000`, `\x`, `\u12`, `\`,
			"\x00", "\n", "\xff", "\xc3", "\xed\xa0\x80", "\ufffd", `"`))
	}
	b.WriteString(g.usually(60, `"`, ``, `'`))
	return g.usually(30, b.String(), "null", "5", "{}", "[]", "true", "nulll")
}

func (g generator) number() string {
	digits := g.pick("0", "1", "7", "00", "01", "42", "4294967295", "4294967296", "9999999999999999999", "18446744073709551615",
		"18446744073709551616", "100000000000000000000")
	digits = g.pick("", "", "", "", "", "", "-", "+") + digits + g.pick("", "", "", "", "", "", ".0", ".5", "e0", "e1", "E+", ".", "e", " ", "x")
	if g.r.IntN(2) == 0 {
		digits = `"` + g.usually(15, "", " ", "\\u0031", "\\t") + digits + g.usually(15, "", " ", ",5", " 5", "}") + `"`
	}
	return g.usually(20, digits, "null", `""`, `" "`, "{}", "[1]", "true", `"`, "NaN")
}

func (g generator) time() string {
	date := g.usually(10, "2026-03-04", "0000-01-01", "0001-01-01", "9999-12-31", "10000-01-01", "2026-02-29", "2026-3-4")
	clock := g.usually(10, "05:06:07", "23:59:59", "24:00:00", "05:06:60", "5:06:07", "05:06")
	fraction := g.usually(3, "", ".1", ".123456789", ".1234567891", ",5", ",1234567891", ".", ".000")
	zone := g.usually(3, "Z", "+01:00", "-23:59", "+24:00", "", "z", "+0100", ".5Z")
	return `"` + date + g.usually(20, "T", " ", "t", `\u0054`) + clock + fraction + zone + `"`
}
