package ws

import (
	"encoding/binary"
	"slices"
)

// maxHeader is the room for the header of an unmasked frame.
const maxHeader = 10

const (
	finText   = 0x81
	finBinary = 0x82
	finClose  = 0x88
	finPing   = 0x89
	finPong   = 0x8a
)

// MaxControlPayload is RFC 6455's limit for the payload of ping, pong and close.
const MaxControlPayload = 125

// Begin returns a buffer to append a payload of about size bytes to, for Finish. The room for the header lies before it.
func Begin(size int) []byte { return make([]byte, maxHeader, maxHeader+size) }

// Finish turns a buffer from Begin with the payload appended into a complete server frame that shares the buffer. The
// frame must not be changed any more: all connections it is sent to share it.
func Finish(buf []byte, text bool) []byte {
	first := byte(finBinary)
	if text {
		first = finText
	}
	n := len(buf) - maxHeader
	var at int
	switch {
	case n < 126:
		at = maxHeader - 2
		buf[at+1] = byte(n)
	case n <= 0xffff:
		at = maxHeader - 4
		buf[at+1] = 126
		binary.BigEndian.PutUint16(buf[at+2:], uint16(n))
	default:
		at = maxHeader - 10
		buf[at+1] = 127
		binary.BigEndian.PutUint64(buf[at+2:], uint64(n))
	}
	buf[at] = first
	return slices.Clip(buf[at:])
}

// Adjoin replaces frames, total bytes in all, by copies that lie one behind the other, which an outbox queues as one.
func Adjoin(frames [][]byte, total int) {
	all := make([]byte, 0, total)
	for i, f := range frames {
		all = append(all, f...)
		frames[i] = all[len(all)-len(f):] // its capacity reaches over those behind it, which is how follows knows
	}
}

// follows says that b lies right behind a in the same memory.
func follows(a, b []byte) bool {
	return cap(a) > len(a) && len(b) > 0 && &a[:len(a)+1][len(a)] == &b[0]
}

// Compile returns a complete server frame around a copy of payload.
func Compile(payload []byte, text bool) []byte {
	return Finish(append(Begin(len(payload)), payload...), text)
}

// control returns a ping, pong or close frame; a longer payload is cut.
func control(first byte, payload []byte) []byte {
	payload = payload[:min(len(payload), MaxControlPayload)]
	return append([]byte{first, byte(len(payload))}, payload...)
}

// closeFrame returns a close frame. Code 0 gives one without a code.
func closeFrame(code int, reason string) []byte {
	if code == 0 {
		return control(finClose, nil)
	}
	return control(finClose, append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...))
}
