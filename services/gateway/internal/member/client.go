package member

import (
	"net/http"
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	"github.com/parley-rt/parley/services/gateway/internal/ws"
)

// Client connects a WebSocket to its Member: it is the ws.Handler of one connection.
type Client struct {
	Member
	ws *ws.Conn
	// promised: the client said in its handshake that hello follows.
	promised bool
	known    bool // the handshake proved who it is
	more     bool // the member was told that more comes
	// refused: there was no place for it.
	refused bool
}

// NewClient returns the handler of a connection, which began with the handshake r.
func NewClient(d *Deps, conn *ws.Conn, r *http.Request) *Client {
	c := &Client{ws: conn, promised: r.URL.Query().Has("hello")}
	c.init(d, conn)
	if known, ok := ws.Who(r).(*Principal); ok {
		c.core.Known(known)
		c.known = true
	}
	return c
}

// promisedWait is how long one may take to send hello that said it would: it may have a session to resume, and a new one would
// be another member's.
const promisedWait = 10 * time.Second

// Opened implements ws.Handler.
func (c *Client) Opened() time.Duration {
	if !c.d.Registry.add(&c.Member) {
		c.refused = true
		c.ws.CloseWith(clientv1.CloseCode_CLOSE_CODE_OVERLOADED)
		return 0
	}
	switch {
	case c.unproven():
		return c.d.AuthTimeout
	case c.promised:
		return promisedWait
	default:
		return c.d.FirstFrameWait
	}
}

// Message implements ws.Handler.
func (c *Client) Message(payload []byte, more bool) {
	if c.refused {
		return
	}
	defer func() { // this is the connection's turn, and not the member's
		if p := recover(); p != nil {
			c.d.fault(p)
			c.ws.CloseWith(clientv1.CloseCode_CLOSE_CODE_INTERNAL)
			c.window.close()
		}
	}()
	bytes := len(payload) + frameWeight
	if !c.window.take(bytes, c.Rest) {
		return
	}
	env, err := c.ws.Codec().Decode(payload)
	msg := &commandMsg{to{&c.Member}, Command{Env: env, Bytes: bytes, At: c.d.Now(), More: more}}
	cmd := &msg.cmd
	if err != nil {
		cmd.Env, cmd.Err = nil, decodeError(err)
	}
	c.d.metrics.received(cmd)
	cmd.Span = c.d.span(cmd)
	if c.more = more; !c.tell(msg) {
		cmd.Span.End()
		c.ws.CloseWith(clientv1.CloseCode_CLOSE_CODE_INTERNAL)
	}
}

// Rest implements ws.Handler.
func (c *Client) Rest() {
	if c.more {
		c.more = false
		c.tell(&restMsg{to{&c.Member}})
	}
}

// unproven says that the client has to say who it is still.
func (c *Client) unproven() bool { return c.d.Authenticate != nil && !c.known }

// Silence implements ws.Handler.
func (c *Client) Silence() {
	if c.promised && !c.unproven() {
		c.ws.CloseWith(clientv1.CloseCode_CLOSE_CODE_INTERNAL)
		return
	}
	if !c.refused {
		c.tell(&silenceMsg{to{&c.Member}})
	}
}

// Closed implements ws.Handler.
func (c *Client) Closed(code int) {
	c.d.Logger.Debug("connection closed", "code", code, "remote_addr", c.ws.RemoteAddr().String())
	if !c.refused {
		c.tell(&closedMsg{to{&c.Member}})
	}
}

func decodeError(err error) *codec.DecodeError {
	if e, ok := err.(*codec.DecodeError); ok { //nolint:errorlint // Decode promises exactly this type
		return e
	}
	return &codec.DecodeError{Code: clientv1.ErrorCode_ERROR_CODE_BAD_FRAME, Message: "frame cannot be read"}
}
