// Package wire is a WebSocket client that knows nothing of Parley but JSON: what a user's first script would be. Tests of the
// protocol use it, so that no cleverness of an SDK hides what the server sends.
package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

// Patience is how long a test waits for a frame that must come.
const Patience = 15 * time.Second

// Frame is a received frame: its kind, its body and the whole text.
type Frame struct {
	Kind string
	ID   uint32
	Body map[string]any
	Text string
}

// String returns a string field, "" when absent.
func (f Frame) String(field string) string { s, _ := f.Body[field].(string); return s }

// Uint returns a 64-bit integer field, which JSON carries as a string; 0 when absent.
func (f Frame) Uint(field string) uint64 {
	var n uint64
	_, _ = fmt.Sscan(f.String(field), &n)
	return n
}

// Bool returns a boolean field, false when absent.
func (f Frame) Bool(field string) bool { b, _ := f.Body[field].(bool); return b }

// Conn is one connection. A reader goroutine collects every frame, in order.
type Conn struct {
	tb     testing.TB
	socket *websocket.Conn

	mu      sync.Mutex
	frames  []Frame
	arrived chan struct{}
	closed  error
	// next is where Expect looks on.
	next int
}

// ErrClosed wraps what ended a connection.
var ErrClosed = errors.New("connection ended")

// Dial opens a connection; it is closed with the test.
func Dial(tb testing.TB, url string, options *websocket.DialOptions) (*Conn, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), Patience)
	defer cancel()
	socket, response, err := websocket.Dial(ctx, url, options)
	if response != nil && response.Body != nil {
		_ = response.Body.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", url, err)
	}
	socket.SetReadLimit(4 << 20)
	c := &Conn{tb: tb, socket: socket, arrived: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.collect()
	}()
	tb.Cleanup(func() {
		_ = socket.CloseNow()
		<-done
	})
	return c, nil
}

// MustDial is Dial for tests in which it must work.
func MustDial(tb testing.TB, url string) *Conn {
	tb.Helper()
	c, err := Dial(tb, url, nil)
	require.NoError(tb, err)
	return c
}

func (c *Conn) collect() {
	for {
		_, text, err := c.socket.Read(context.Background())
		var frame Frame
		if err == nil {
			frame, err = parse(text)
		}
		c.mu.Lock()
		if err != nil {
			c.closed = fmt.Errorf("%w: %w", ErrClosed, err)
		} else {
			c.frames = append(c.frames, frame)
		}
		close(c.arrived)
		c.arrived = make(chan struct{})
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func parse(text []byte) (Frame, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return Frame{}, fmt.Errorf("frame %q: %w", text, err)
	}
	frame := Frame{Text: string(text)}
	for name, value := range members {
		if name == "id" {
			if err := json.Unmarshal(value, &frame.ID); err != nil {
				return Frame{}, fmt.Errorf("id of frame %q: %w", text, err)
			}
			continue
		}
		if frame.Kind != "" {
			return Frame{}, fmt.Errorf("frame %q has two kinds", text)
		}
		frame.Kind = name
		if err := json.Unmarshal(value, &frame.Body); err != nil {
			return Frame{}, fmt.Errorf("body of frame %q: %w", text, err)
		}
	}
	return frame, nil
}

// Send writes one text frame.
func (c *Conn) Send(text string) {
	c.tb.Helper()
	require.NoError(c.tb, c.TrySend(text))
}

// Sendf is Send with formatting.
func (c *Conn) Sendf(format string, args ...any) {
	c.tb.Helper()
	c.Send(fmt.Sprintf(format, args...))
}

// TrySend writes one text frame on a connection that may have ended.
func (c *Conn) TrySend(text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	return c.socket.Write(ctx, websocket.MessageText, []byte(text))
}

// SendBinary writes one binary frame.
func (c *Conn) SendBinary(data []byte) {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	require.NoError(c.tb, c.socket.Write(ctx, websocket.MessageBinary, data))
}

// Expect returns the next frame of the kind, passing over frames of other kinds. They stay in Frames.
func (c *Conn) Expect(kind string) Frame {
	c.tb.Helper()
	return c.ExpectWhere(kind, func(Frame) bool { return true })
}

// ExpectWhere returns the next frame of the kind for which ok holds.
func (c *Conn) ExpectWhere(kind string, ok func(Frame) bool) Frame {
	c.tb.Helper()
	deadline := time.After(Patience)
	for {
		c.mu.Lock()
		for c.next < len(c.frames) {
			frame := c.frames[c.next]
			c.next++
			if frame.Kind == kind && ok(frame) {
				c.mu.Unlock()
				return frame
			}
		}
		closed, arrived, seen := c.closed, c.arrived, len(c.frames)
		c.mu.Unlock()
		if closed != nil {
			require.FailNow(c.tb, "connection ended while waiting", "for %s: %v; frames: %s", kind, closed, c.lastFrames())
		}
		select {
		case <-arrived:
		case <-deadline:
			require.FailNow(c.tb, "frame did not come", "%s, after %d frames: %s", kind, seen, c.lastFrames())
		}
	}
}

// Await returns the first frame of the kind for which ok holds, among those received so far and those to come. Unlike
// Expect it does not move on.
func (c *Conn) Await(kind string, ok func(Frame) bool) Frame {
	c.tb.Helper()
	c.mu.Lock()
	next := c.next
	c.next = 0
	c.mu.Unlock()
	frame := c.ExpectWhere(kind, ok)
	c.mu.Lock()
	c.next = max(c.next, next)
	c.mu.Unlock()
	return frame
}

// Frames returns every frame received so far.
func (c *Conn) Frames() []Frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Frame(nil), c.frames...)
}

// AwaitClose waits for the end of the connection and returns the WebSocket close code, -1 without a close frame.
func (c *Conn) AwaitClose() (websocket.StatusCode, error) {
	c.tb.Helper()
	deadline := time.After(Patience)
	for {
		c.mu.Lock()
		closed, arrived := c.closed, c.arrived
		c.mu.Unlock()
		if closed != nil {
			return websocket.CloseStatus(closed), closed
		}
		select {
		case <-arrived:
		case <-deadline:
			require.FailNow(c.tb, "connection did not end", "frames: %s", c.lastFrames())
		}
	}
}

// Close ends the connection without a closing handshake, like a lost network.
func (c *Conn) Close() { _ = c.socket.CloseNow() }

func (c *Conn) lastFrames() []string {
	var texts []string
	frames := c.Frames()
	for _, f := range frames[max(0, len(frames)-8):] {
		texts = append(texts, fmt.Sprintf("%.300s", f.Text))
	}
	return texts
}
