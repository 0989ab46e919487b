package codec

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

// AppendJSON appends env as compact JSON with proto field names to dst, defaults omitted, 64-bit integers as strings. The
// frequent frames (message, ack, signal, history_page) are written without reflection and without an allocation beyond
// dst's growth.
func AppendJSON(dst []byte, env *clientv1.Envelope) ([]byte, error) {
	if out, ok := appendFrequent(dst, env); ok {
		return out, nil
	}
	start := len(dst)
	out, err := protojson.MarshalOptions{UseProtoNames: true}.MarshalAppend(dst, env)
	if err != nil {
		return dst, fmt.Errorf("encode frame: %w", err)
	}
	return compact(out, start), nil
}

// compact removes, in place, the spaces that protojson puts behind some commas, from buf[start:]. Spaces within strings
// are content and stay; protojson writes no other white space.
func compact(buf []byte, start int) []byte {
	w := start
	inString, escaped := false, false
	for _, c := range buf[start:] {
		switch {
		case escaped:
			escaped = false
		case inString && c == '\\':
			escaped = true
		case c == '"':
			inString = !inString
		case c == ' ' && !inString:
			continue
		}
		buf[w] = c
		w++
	}
	return buf[:w]
}
