package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/gobwas/ws"
)

// wire is a WebSocket connection reduced to what a load generator needs: frames are parsed in place and never copied, so
// that the client's share of the machine stays small. One goroutine reads, one writes.
type wire struct {
	conn net.Conn
	buf  []byte
	// have is how much of buf holds unread bytes.
	have int
	out  []byte
}

// serverClosedError carries the close code of the server.
type serverClosedError struct {
	code   uint16
	reason string
}

func (e *serverClosedError) Error() string {
	return fmt.Sprintf("server closed the connection: %d %s", e.code, e.reason)
}

func dialWire(ctx context.Context, url string) (*wire, error) {
	dialer := ws.Dialer{Protocols: []string{"parley.v1.json"}}
	conn, reader, _, err := dialer.Dial(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", url, err)
	}
	w := &wire{conn: conn, buf: make([]byte, 32<<10)}
	if reader != nil {
		if err := w.takeBuffered(reader); err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	return w, nil
}

// takeBuffered moves what the handshake read too far into the frame buffer.
func (w *wire) takeBuffered(r *bufio.Reader) error {
	early, err := r.Peek(r.Buffered())
	if err != nil {
		return fmt.Errorf("read after handshake: %w", err)
	}
	w.have = copy(w.buf, early)
	return nil
}

// send writes one text frame. The mask key is zero: masking is required of a client, its secrecy only guards browsers.
func (w *wire) send(payload []byte) error {
	const masked = 0x80
	w.out = append(w.out[:0], 0x81)
	switch n := len(payload); {
	case n < 126:
		w.out = append(w.out, masked|byte(n))
	case n < 1<<16:
		w.out = append(w.out, masked|126, byte(n>>8), byte(n))
	default:
		w.out = append(w.out, masked|127)
		w.out = binary.BigEndian.AppendUint64(w.out, uint64(n))
	}
	w.out = append(w.out, 0, 0, 0, 0)
	w.out = append(w.out, payload...)
	_, err := w.conn.Write(w.out)
	return err
}

// read calls handle for every text frame until it returns an error or the connection ends. The payload is valid during
// the call only. Pings need no answer here: any frame of ours counts as life, and runs are shorter than two pings.
func (w *wire) read(handle func(payload []byte) error) error {
	for {
		used, err := w.frames(handle)
		if err != nil {
			return err
		}
		w.have = copy(w.buf, w.buf[used:w.have])
		if w.have == len(w.buf) {
			w.buf = append(w.buf, make([]byte, len(w.buf))...)
		}
		n, err := w.conn.Read(w.buf[w.have:])
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		w.have += n
	}
}

// frames handles the whole frames in the buffer and returns how many bytes they took.
func (w *wire) frames(handle func([]byte) error) (int, error) {
	at := 0
	for {
		head, payload, ok := frameAt(w.buf[at:w.have])
		if !ok {
			return at, nil
		}
		body := w.buf[at+head : at+head+payload]
		switch opcode := w.buf[at] & 0x0f; opcode {
		case 0x1:
			if err := handle(body); err != nil {
				return at, err
			}
		case 0x8:
			closed := &serverClosedError{code: 1005}
			if len(body) >= 2 {
				closed.code, closed.reason = binary.BigEndian.Uint16(body), string(body[2:])
			}
			return at, closed
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
