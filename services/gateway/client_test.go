package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/opskit/auth"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
)

// patience bounds every wait of these tests.
const patience = 15 * time.Second

// client is a WebSocket client of the public protocol.
type client struct {
	t       testing.TB
	ws      *websocket.Conn
	session *clientv1.Session

	mu     sync.Mutex
	frames []*clientv1.Envelope
	news   chan struct{} // closed at the next frame or end
	closed error
	next   int
	done   chan struct{}
}

// dial connects without saying anything.
func (g *bundle) dial() *client {
	g.t.Helper()
	return g.dialAt("/ws")
}

func (g *bundle) dialAt(path string) *client {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	socket, _, err := websocket.Dial(ctx, cmp.Or(g.scheme, "ws")+"://"+g.service.Addr()+path, &websocket.DialOptions{HTTPClient: g.http})
	require.NoError(g.t, err)
	return g.client(socket)
}

// client reads from a socket.
func (g *bundle) client(socket *websocket.Conn) *client {
	socket.SetReadLimit(8 << 20)
	c := &client{t: g.t, ws: socket, news: make(chan struct{}), done: make(chan struct{})}
	go c.read()
	g.t.Cleanup(func() {
		_ = socket.CloseNow()
		<-c.done
	})
	return c
}

func (c *client) read() {
	defer close(c.done)
	for {
		_, data, err := c.ws.Read(context.Background())
		var env *clientv1.Envelope
		if err == nil {
			env, err = codec.DecodeJSON(data)
		}
		c.mu.Lock()
		if err != nil {
			c.closed = err
		} else {
			c.frames = append(c.frames, env)
		}
		close(c.news)
		c.news = make(chan struct{})
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// connect dials and opens a session; token may be empty.
func (g *bundle) connect(token string) *client {
	g.t.Helper()
	c := g.dialAt("/ws?hello=1")
	c.send(`{"hello":{"session_token":%q}}`, token)
	c.session = c.expect("session").GetSession()
	return c
}

// join connects and joins a room from the head.
func (g *bundle) join(room string) *client {
	g.t.Helper()
	c := g.connect("")
	c.send(`{"join_room":{"room_id":%q}}`, room)
	c.expect("room_joined")
	return c
}

func (c *client) send(format string, args ...any) {
	c.t.Helper()
	require.NoError(c.t, c.write(fmt.Sprintf(format, args...)))
}

func (c *client) write(text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return c.ws.Write(ctx, websocket.MessageText, []byte(text))
}

// expect returns the next frame, which must be of that kind.
func (c *client) expect(kind string) *clientv1.Envelope {
	c.t.Helper()
	env := c.frame(kind)
	require.Equal(c.t, kind, codec.Kind(env), "%v", env)
	return env
}

// find returns the next frame of that kind, passing over others.
func (c *client) find(kind string) *clientv1.Envelope {
	c.t.Helper()
	for {
		if env := c.frame(kind); codec.Kind(env) == kind {
			return env
		}
	}
}

func (c *client) frame(waitingFor string) *clientv1.Envelope {
	c.t.Helper()
	timeout := time.After(patience)
	for {
		c.mu.Lock()
		if c.next < len(c.frames) {
			env := c.frames[c.next]
			c.next++
			c.mu.Unlock()
			return env
		}
		news, closed := c.news, c.closed
		c.mu.Unlock()
		require.NoError(c.t, closed, "connection ended while waiting for %s", waitingFor)
		select {
		case <-news:
		case <-timeout:
			require.FailNow(c.t, "frame did not come", waitingFor)
		}
	}
}

// messages returns the contents of the next n messages, passing over acks.
func (c *client) messages(n int) (contents []string) {
	c.t.Helper()
	for len(contents) < n {
		contents = append(contents, c.find("message").GetMessage().GetContent())
	}
	return contents
}

// expectClose waits for the end of the connection.
func (c *client) expectClose(code clientv1.CloseCode) {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		require.FailNow(c.t, "connection did not end")
	}
	require.Equal(c.t, websocket.StatusCode(code), websocket.CloseStatus(c.closed), "%v", c.closed)
}

func get(t testing.TB, h *http.Client, url string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	res, err := h.Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// noAuth lets everybody in.
var noAuth = auth.Config{Mode: auth.ModeNone}
