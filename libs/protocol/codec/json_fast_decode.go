package codec

import (
	"bytes"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

// decodeMessage reads a `message` frame as clients and servers usually write it. It returns nil for everything else and
// for everything unusual (other kinds and fields, null, \u escapes, fractions, errors of any sort): protojson decides
// those. What it does return is what protojson would; a differential fuzz test holds it to that.
func decodeMessage(frame []byte) *clientv1.Envelope {
	r := reader{in: frame}
	if !r.delim('{') || !r.peek('"') {
		return nil
	}
	var id uint32
	seenID := false
	for {
		name, ok := r.name()
		if !ok {
			return nil
		}
		if string(name) == "message" {
			break
		}
		if string(name) != "id" || seenID || !r.uint32(&id) || !r.delim(',') {
			return nil
		}
		seenID = true
	}
	// One allocation for what lives and dies together.
	frameOf := &struct {
		env  clientv1.Envelope
		kind clientv1.Envelope_Message
		msg  clientv1.Message
	}{}
	if !r.message(&frameOf.msg) {
		return nil
	}
	if r.delim(',') {
		if name, ok := r.name(); !ok || string(name) != "id" || seenID || !r.uint32(&id) {
			return nil
		}
	}
	if !r.delim('}') || !r.end() {
		return nil
	}
	frameOf.kind.Message = &frameOf.msg
	frameOf.env.Id = id
	frameOf.env.Kind = &frameOf.kind
	return &frameOf.env
}

// reader consumes JSON tokens with the white space behind them. A false means: leave it to protojson.
type reader struct{ in []byte }

func (r *reader) message(m *clientv1.Message) bool {
	if !r.delim('{') {
		return false
	}
	if r.delim('}') {
		return true
	}
	var seen uint16
	for {
		name, ok := r.name()
		if !ok {
			return false
		}
		var bit uint16
		switch string(name) {
		case "target":
			bit, ok = 1, r.str(&m.Target)
		case "content":
			bit, ok = 2, r.str(&m.Content)
		case "message_id":
			bit, ok = 4, r.str(&m.MessageId)
		case "sent_at":
			bit, ok = 8, r.time(&m.SentAt)
		case "traceparent":
			bit, ok = 16, r.str(&m.Traceparent)
		case "tracestate":
			bit, ok = 32, r.str(&m.Tracestate)
		case "sender":
			bit, ok = 64, r.str(&m.Sender)
		case "seq":
			bit, ok = 128, r.uint64(&m.Seq)
		case "prev_seq":
			bit, ok = 256, r.uint64(&m.PrevSeq)
		default:
			return false
		}
		if !ok || seen&bit != 0 {
			return false
		}
		seen |= bit
		if !r.delim(',') {
			return r.delim('}')
		}
	}
}

func (r *reader) space() {
	for len(r.in) > 0 && (r.in[0] == ' ' || r.in[0] == '\n' || r.in[0] == '\r' || r.in[0] == '\t') {
		r.in = r.in[1:]
	}
}

func (r *reader) end() bool {
	r.space()
	return len(r.in) == 0
}

func (r *reader) peek(c byte) bool {
	r.space()
	return len(r.in) > 0 && r.in[0] == c
}

func (r *reader) delim(c byte) bool {
	if !r.peek(c) {
		return false
	}
	r.in = r.in[1:]
	return true
}

// name reads a field name without escapes, and its colon.
func (r *reader) name() ([]byte, bool) {
	if !r.delim('"') {
		return nil, false
	}
	end := bytes.IndexByte(r.in, '"')
	if end < 0 {
		return nil, false
	}
	name := r.in[:end]
	r.in = r.in[end+1:]
	return name, r.delim(':')
}

// str reads a string into dst. Escapes other than \u are common in chat; \u is not, and its surrogates are delicate.
func (r *reader) str(dst *string) bool {
	if !r.delim('"') {
		return false
	}
	plain := len(r.in)
	for i, c := range r.in {
		if c == '"' {
			if !utf8.Valid(r.in[:i]) {
				return false
			}
			*dst = string(r.in[:i])
			r.in = r.in[i+1:]
			return true
		}
		if c < ' ' {
			return false
		}
		if c == '\\' {
			plain = i
			break
		}
	}
	out := append(make([]byte, 0, min(len(r.in), plain*2+64)), r.in[:plain]...)
	for i := plain; i < len(r.in); i++ {
		switch c := r.in[i]; {
		case c == '"':
			if !utf8.Valid(out) {
				return false
			}
			*dst = string(out)
			r.in = r.in[i+1:]
			return true
		case c < ' ':
			return false
		case c == '\\':
			i++
			if i == len(r.in) {
				return false
			}
			c, ok := unescape(r.in[i])
			if !ok {
				return false
			}
			out = append(out, c)
		default:
			out = append(out, c)
		}
	}
	return false
}

func unescape(c byte) (byte, bool) {
	switch c {
	case '"', '\\', '/':
		return c, true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	default:
		return 0, false
	}
}

// digits reads an integer of up to 19 digits without sign, leading zero, fraction or exponent, right here. What follows
// is the caller's to check.
func (r *reader) digits() (uint64, bool) {
	n, i := uint64(0), 0
	for i < len(r.in) && r.in[i] >= '0' && r.in[i] <= '9' {
		n = n*10 + uint64(r.in[i]-'0')
		if i++; i > 19 {
			return 0, false
		}
	}
	if i == 0 || (r.in[0] == '0' && i > 1) {
		return 0, false
	}
	r.in = r.in[i:]
	return n, true
}

// uint64 reads a number, or one in a string, where protojson allows no spaces.
func (r *reader) uint64(dst *uint64) bool {
	quoted := r.delim('"')
	n, ok := r.digits()
	if !ok || len(r.in) == 0 {
		return false
	}
	*dst = n
	switch r.in[0] {
	case '"':
		r.in = r.in[1:]
		return quoted
	case ',', '}', ' ', '\n', '\r', '\t':
		return !quoted
	default:
		return false
	}
}

// uint32 reads the frame's id.
func (r *reader) uint32(dst *uint32) bool {
	var n uint64
	if !r.uint64(&n) || n > math.MaxUint32 {
		return false
	}
	*dst = uint32(n)
	return true
}

// time follows protojson step by step.
func (r *reader) time(dst **timestamppb.Timestamp) bool {
	var s string
	if !r.str(&s) {
		return false
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return false
	}
	sec := t.Unix()
	if sec < minSeconds || sec > maxSeconds {
		return false
	}
	// time.Parse ignores digits behind the ninth, protojson refuses them.
	dot, zone := strings.LastIndexByte(s, '.'), strings.LastIndexAny(s, "Z-+")
	if dot >= 0 && zone >= dot && zone-dot > len(".999999999") {
		return false
	}
	*dst = &timestamppb.Timestamp{Seconds: sec, Nanos: int32(t.Nanosecond())} //nolint:gosec // below 1e9
	return true
}
