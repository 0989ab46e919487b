package bench

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// serverClosedError carries the close code of the server.
type serverClosedError struct {
	code   uint16
	reason string
}

func (e *serverClosedError) Error() string {
	return fmt.Sprintf("server closed the connection: %d %s", e.code, e.reason)
}

func closedBy(body []byte) error {
	closed := &serverClosedError{code: 1005}
	if len(body) >= 2 {
		closed.code, closed.reason = binary.BigEndian.Uint16(body), string(body[2:])
	}
	return closed
}

// Opcodes of RFC 6455.
const (
	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xa
)

// appendFrame appends a client's frame. The mask key is zero: masking is required of a client, its secrecy only guards browsers.
func appendFrame(b []byte, opcode byte, payload []byte) []byte {
	const masked = 0x80
	b = append(b, 0x80|opcode)
	switch n := len(payload); {
	case n < 126:
		b = append(b, masked|byte(n))
	case n < 1<<16:
		b = append(b, masked|126, byte(n>>8), byte(n))
	default:
		b = append(b, masked|127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// frames calls handle for every whole frame at the beginning of b and returns how many bytes those took. A close frame ends it
// with an error.
func frames(b []byte, handle func(opcode byte, payload []byte) error) (int, error) {
	at := 0
	for {
		head, payload, ok := frameAt(b[at:])
		if !ok {
			return at, nil
		}
		opcode, body := b[at]&0x0f, b[at+head:at+head+payload]
		if opcode == opClose {
			return at, closedBy(body)
		}
		if err := handle(opcode, body); err != nil {
			return at, err
		}
		at += head + payload
	}
}

// frameAt measures the (unmasked, unfragmented) frame at the start of b; ok is false when it is not whole yet.
func frameAt(b []byte) (head, payload int, ok bool) {
	if len(b) < 2 {
		return 0, 0, false
	}
	head, payload = 2, int(b[1]&0x7f)
	switch payload {
	case 126:
		if head = 4; len(b) < head {
			return 0, 0, false
		}
		payload = int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if head = 10; len(b) < head {
			return 0, 0, false
		}
		payload = int(binary.BigEndian.Uint64(b[2:]))
	}
	return head, payload, len(b) >= head+payload
}

var errNoField = errors.New("field not in frame")

// chainOf reads the numbers at the end of a message frame, `"seq":"12","prev_seq":"11"}}`. A message without prev_seq has 0.
func chainOf(frame []byte) (seq, previous uint64, err error) {
	const seqKey, previousKey = `,"seq":"`, `","prev_seq":"`
	rest, ok := bytes.CutSuffix(frame, []byte(`"}}`))
	if ok {
		var number uint64
		if number, rest, ok = numberBefore(rest); ok {
			if before, is := bytes.CutSuffix(rest, []byte(previousKey)); is {
				previous = number
				number, rest, ok = numberBefore(before)
			}
			if ok && bytes.HasSuffix(rest, []byte(seqKey)) {
				return number, previous, nil
			}
		}
	}
	if seq, err = uintField(frame, `"seq"`); err != nil { // fields in another order
		return 0, 0, err
	}
	previous, err = uintField(frame, `"prev_seq"`)
	if errors.Is(err, errNoField) {
		return seq, 0, nil
	}
	return seq, previous, err
}

// numberBefore reads the decimal number at the end of b and returns what stands before it.
func numberBefore(b []byte) (n uint64, before []byte, ok bool) {
	at, unit := len(b), uint64(1)
	for at > 0 && b[at-1] >= '0' && b[at-1] <= '9' {
		at--
		n += uint64(b[at]-'0') * unit
		unit *= 10
	}
	return n, b[:at], at < len(b)
}

// uintField reads the last `"name":"123"` of a frame: fields of the server stand after the content, which may hold anything.
func uintField(frame []byte, quotedName string) (uint64, error) {
	at := bytes.LastIndex(frame, []byte(quotedName+`:"`))
	if at < 0 {
		return 0, fmt.Errorf("%s: %w: %.200s", quotedName, errNoField, frame)
	}
	digits := frame[at+len(quotedName)+2:]
	end := bytes.IndexByte(digits, '"')
	if end < 0 {
		return 0, fmt.Errorf("%s: %w: %.200s", quotedName, errNoField, frame)
	}
	return strconv.ParseUint(string(digits[:end]), 10, 64)
}

// stampBytes is the time at the start of a payload when it was due: nanoseconds since the run began, in decimal.
const stampBytes = 20

func stampOf(frame []byte) (int64, bool) {
	const key = `"content":"`
	at := bytes.Index(frame, []byte(key))
	if at < 0 || len(frame) < at+len(key)+stampBytes {
		return 0, false
	}
	sent, err := strconv.ParseInt(string(frame[at+len(key):at+len(key)+stampBytes]), 10, 64)
	return sent, err == nil
}
