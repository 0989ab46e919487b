//go:build linux

package barehub

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // what RFC 6455 asks for
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"time"
)

// conn is one connection of one loop.
type conn struct {
	fd   int
	name string // of the member
	open bool   // the handshake is over
	gone bool
	// rest is the beginning of a frame whose end has not come.
	rest []byte
	// acks leave with the next frames, or at the end of the turn.
	acks []byte
	// unsent is what the socket did not take.
	unsent []byte

	room  *room
	place int
	// from is the number after which messages are for this connection.
	from uint64
}

func newConn(fd int) *conn { return &conn{fd: fd, name: "calm-otter-" + strconv.Itoa(10000+fd)} }

// take handles what was read and keeps what is not whole. The bytes are the loop's until its turn ends. false: not our protocol.
func (l *loop) take(c *conn, in []byte) bool {
	c.rest = c.rest[:0]
	if !c.open {
		end := bytes.Index(in, []byte("\r\n\r\n"))
		if end < 0 {
			c.rest = append(c.rest, in...)
			return len(in) < 8<<10
		}
		answer, ok := upgrade(in[:end+2])
		if !ok {
			return false
		}
		in = in[end+4:]
		c.open = true
		l.write(c, appendSession(answer, c.name))
	}
	for len(in) > 0 {
		payload, size, opcode, ok := clientFrame(in)
		if !ok {
			return false
		}
		if size == 0 {
			c.rest = append(c.rest, in...)
			return len(in) < turnBytes
		}
		in = in[size:]
		switch opcode {
		case 0x1:
			if !l.handle(c, payload) {
				return false
			}
		case 0x8:
			return false
		}
	}
	return true
}

// handle takes one message of the client protocol: as the benchmark writes them, and no other way.
func (l *loop) handle(c *conn, payload []byte) bool {
	switch {
	case bytes.HasPrefix(payload, []byte(`{"message"`)):
		id, content := text(payload, `"message_id":"`), text(payload, `"content":"`)
		if c.room == nil || id == nil || content == nil {
			return false
		}
		p := &c.room.parts[l.index]
		if len(p.fresh) == 0 {
			l.touched = append(l.touched, c.room)
		}
		p.fresh = append(p.fresh, publish{c, id, content})
		l.acked = append(l.acked, c)
	case bytes.HasPrefix(payload, []byte(`{"join_room"`)):
		name := text(payload, `"room_id":"`)
		if name == nil {
			return false
		}
		j := join{c: c, room: l.hub.room(name)}
		if after := text(payload, `"after_seq":"`); after != nil {
			seq, err := strconv.ParseUint(string(after), 10, 64)
			if err != nil {
				return false
			}
			j.after, j.replay = seq, true
		}
		l.joins = append(l.joins, j)
	}
	return true
}

// text is what stands between a key and the next quote.
func text(payload []byte, key string) []byte {
	_, value, ok := bytes.Cut(payload, []byte(key))
	if !ok {
		return nil
	}
	value, _, ok = bytes.Cut(value, []byte(`"`))
	if !ok {
		return nil
	}
	return value
}

// upgrade answers a handshake (RFC 6455, 4.2.2).
func upgrade(request []byte) ([]byte, bool) {
	var key []byte
	for line := range bytes.SplitSeq(request, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Sec-WebSocket-Key")) {
			key = bytes.TrimSpace(value)
		}
	}
	if key == nil {
		return nil, false
	}
	sum := sha1.Sum(append(append([]byte(nil), key...), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...)) //nolint:gosec // as above
	return []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\nSec-WebSocket-Protocol: parley.v1.json\r\n\r\n"), true
}

// clientFrame reads the frame at the beginning of b and unmasks it in place. size 0: it is not whole.
func clientFrame(b []byte) (payload []byte, size int, opcode byte, ok bool) {
	if len(b) < 2 {
		return nil, 0, 0, true
	}
	if b[0]&0x80 == 0 || b[1]&0x80 == 0 {
		return nil, 0, 0, false // fragments and frames without a mask are not what the benchmark sends
	}
	head, n := 2, int(b[1]&0x7f)
	switch n {
	case 126:
		if head = 4; len(b) < head {
			return nil, 0, 0, true
		}
		n = int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		return nil, 0, 0, false
	}
	if len(b) < head+4+n {
		return nil, 0, 0, true
	}
	payload = b[head+4 : head+4+n]
	if mask := [4]byte(b[head:]); mask != [4]byte{} {
		for i := range payload {
			payload[i] ^= mask[i%4]
		}
	}
	return payload, head + 4 + n, b[0] & 0x0f, true
}

// appendFrame appends a text frame of what body appends; bodies of the hub are short enough for two bytes of length.
func appendFrame(b []byte, body func([]byte) []byte) []byte {
	begin := len(b)
	b = body(append(b, 0x81, 126, 0, 0))
	n := len(b) - begin - 4
	if n < 126 {
		copy(b[begin+2:], b[begin+4:])
		b[begin+1] = byte(n)
		return b[:len(b)-2]
	}
	binary.BigEndian.PutUint16(b[begin+2:], uint16(n))
	return b
}

func appendSession(b []byte, name string) []byte {
	return appendFrame(b, func(b []byte) []byte {
		b = append(b, `{"session":{"token":"none","member_id":"`...)
		b = append(b, name...)
		b = append(b, `","expires_at":"`...)
		b = time.Now().UTC().AppendFormat(b, time.RFC3339Nano)
		return append(b, `"}}`...)
	})
}

func appendJoined(b []byte, room string, head uint64) []byte {
	return appendFrame(b, func(b []byte) []byte {
		b = append(b, `{"room_joined":{"room_id":"`...)
		b = append(b, room...)
		b = append(b, `","seq":"`...)
		b = strconv.AppendUint(b, head, 10)
		return append(b, `"}}`...)
	})
}
