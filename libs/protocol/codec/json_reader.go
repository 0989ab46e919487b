package codec

import (
	"bytes"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// reader consumes JSON tokens with the white space behind them. A false means: leave it to protojson.
type reader struct{ in []byte }

// object reads an object whose fields are read by field, which returns a bit of its own for each to find repetitions.
func (r *reader) object(field func(name []byte) (bit uint16, ok bool)) bool {
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
		bit, ok := field(name)
		if !ok || seen&bit != 0 {
			return false
		}
		seen |= bit
		if !r.delim(',') {
			return r.delim('}')
		}
	}
}

// bool reads true or false; what follows must be a delimiter, or it was something else.
func (r *reader) bool(dst *bool) bool {
	r.space()
	rest, yes := bytes.CutPrefix(r.in, []byte("true"))
	if !yes {
		var no bool
		if rest, no = bytes.CutPrefix(r.in, []byte("false")); !no {
			return false
		}
	}
	*dst, r.in = yes, rest
	return r.peek(',') || r.peek('}')
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
	*dst = &timestamppb.Timestamp{Seconds: sec, Nanos: int32(t.Nanosecond())} // below 1e9
	return true
}
