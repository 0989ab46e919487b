package member

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/tochemey/goakt/v4/actor"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/gateway/internal/hub"
	"github.com/parley-rt/parley/services/gateway/internal/ws"
)

// Messages to an Actor.
type (
	commandMsg  struct{ cmd *Command }
	silenceMsg  struct{}
	admittedMsg struct{}
	closedMsg   struct{}
	tickMsg     struct{}
	drainedMsg  struct{}
	replacedMsg struct{}
	// sessionGoneMsg says that the session's row is expired or deleted.
	sessionGoneMsg struct{}
	blockedMsg     struct{ block persistence.Block }
	drainMsg       struct{ afterMS uint32 }
	linkDownMsg    struct{ node string }
	linkLostMsg    struct{ node string }
	answerMsg      struct {
		from  string
		frame actorkit.Frame
	}
	evictedMsg struct {
		room   string
		number uint64
	}
	// faultMsg says that a task of the member panicked.
	faultMsg  struct{}
	openedMsg struct{ opened Opened }
	// expiredMsg says that the proof of who the client is may have expired.
	expiredMsg       struct{}
	authenticatedMsg struct {
		principal *Principal
		err       error
	}
	savedMsg struct {
		version uint64
		err     error
	}
)

// Socket is a connection as its member sees it: *ws.Conn.
type Socket interface {
	hub.Sink
	// HasRoom says whether little is queued; if not, w is told when that changes.
	HasRoom(w ws.Waiter) bool
	// SendPaced sends a page after HasRoom was asked; GiveRoom says that none will come.
	SendPaced(frame []byte) bool
	GiveRoom()
}

// Actor is the shell of one connection's Core.
type Actor struct {
	d      *Deps
	core   *Core
	conn   Socket
	window *window
	number uint64
	entry  *entry
	turn   *Turn // on the way in; nil before and after

	self   *actor.PID
	rctx   *actor.ReceiveContext // during Receive
	broken bool                  // there was a fault: only the end is waited for
	// asked: a Drained is on its way, so that one is enough for all that want room.
	asked bool
	// kept: HasRoom said yes, and no page was sent since.
	kept bool
}

func newActor(d *Deps, conn Socket, w *window, number uint64) *Actor {
	a := &Actor{d: d, conn: conn, window: w, number: number}
	a.core = NewCore(d.Config, (*effects)(a), rand.Uint64()>>1)
	return a
}

// PreStart implements actor.Actor.
func (a *Actor) PreStart(*actor.Context) error { return nil }

// PostStop implements actor.Actor. It may run beside Receive, so it touches only what is safe for that: usually everything
// is over by now, and when the system stops first, so does what the connection was attached to.
func (a *Actor) PostStop(*actor.Context) error {
	a.window.close()
	a.conn.CloseWith(clientv1.CloseCode_CLOSE_CODE_INTERNAL)
	return nil
}

// Receive implements actor.Actor.
func (a *Actor) Receive(rctx *actor.ReceiveContext) {
	a.rctx = rctx
	defer a.recover()
	defer a.giveRoom()
	now := a.d.Now()
	if _, over := rctx.Message().(*closedMsg); a.broken && !over {
		return
	}
	switch m := rctx.Message().(type) {
	case *actor.PostStart:
		a.self = rctx.Self()
	case *commandMsg:
		a.core.Frame(now, m.cmd)
	case *answerMsg:
		a.answer(now, m)
	case *tickMsg:
		if next := a.core.Tick(now); !next.IsZero() {
			a.d.Registry.wake(a.entry, next)
		}
	case *silenceMsg:
		a.core.Silence(now)
	case *admittedMsg:
		a.core.Admitted()
	case *authenticatedMsg:
		a.core.Authenticated(now, m.principal, m.err)
	case *expiredMsg:
		a.core.Expired(now)
	case *openedMsg:
		a.opened(now, m)
	case *savedMsg:
		a.core.RoomsSaved(now, m.version, m.err)
	case *drainedMsg:
		a.asked = false
		a.core.Drained(now)
	case *evictedMsg:
		a.core.Evicted(now, m.room, m.number)
	case *linkDownMsg:
		a.core.LinkDown(now, m.node)
	case *linkLostMsg:
		a.core.LinkLost(now, m.node)
	case *replacedMsg:
		a.core.Replaced()
	case *sessionGoneMsg:
		a.core.SessionGone()
	case *blockedMsg:
		a.core.Blocked(now, &m.block)
	case *drainMsg:
		a.core.Drain(now, m.afterMS)
	case *faultMsg:
		a.fail()
	case *closedMsg:
		a.letGo()
		rctx.Shutdown()
	default:
		rctx.Unhandled()
	}
}

// giveRoom gives back what was kept for a page that did not come.
func (a *Actor) giveRoom() {
	if a.kept && a.core.page == nil {
		a.kept = false
		a.conn.GiveRoom()
	}
}

// recover ends a turn. A fault costs this connection a reconnect and nobody else anything (S9).
func (a *Actor) recover() {
	a.rctx = nil
	if p := recover(); p != nil {
		a.d.fault(p)
		a.fail()
	}
}

func (a *Actor) fail() {
	a.broken = true
	a.conn.CloseWith(clientv1.CloseCode_CLOSE_CODE_INTERNAL)
	a.window.close()
}

// fault logs a panic. Call it from the deferred function that recovered it: the stack is still there.
func (d *Deps) fault(p any) {
	d.Logger.Error("fault in a member; its connection is closed to resume", "err", fmt.Sprint(p), "stack", string(debug.Stack()))
}

func (a *Actor) letGo() {
	(*effects)(a).Entered()
	a.d.Registry.remove(a.entry)
	if a.core.session.ID != "" {
		a.d.Registry.release(a.core.session.id, a.entry)
	}
	a.window.close()
	if a.broken {
		a.core.Abandon()
		return
	}
	a.core.Stop()
}

func (a *Actor) answer(now time.Time, m *answerMsg) {
	f := &roomv1.Frame{}
	if err := proto.Unmarshal(m.frame.Body, f); err != nil {
		a.d.Logger.Warn("answer of a rooms node cannot be read", "peer", m.from, "err", err)
		return
	}
	a.core.Answer(now, m.from, f)
}

func (a *Actor) opened(now time.Time, m *openedMsg) {
	if m.opened.Err != nil {
		a.d.Logger.Warn("session could not be opened", "err", m.opened.Err)
	}
	a.core.SessionOpened(now, m.opened)
	// One that came too late for its connection is left to expire.
	if id, _ := a.core.Session(); id != "" && !a.d.Registry.claim(m.opened.id, m.opened.Generation, m.opened.Member, a.entry) {
		a.core.Replaced()
	}
}

// Drained implements ws.Waiter.
func (a *Actor) Drained() { tell(a.self, &drainedMsg{}) }

// Evicted implements hub.Evictee.
func (a *Actor) Evicted(room string, number uint64) { tell(a.self, &evictedMsg{room, number}) }

// Client connects a WebSocket to its Actor: it is the ws.Handler of one connection.
type Client struct {
	d      *Deps
	conn   *ws.Conn
	window *window
	// promised: the client said in its handshake that hello follows.
	promised bool
	known    *Principal // whom the handshake proved it to be; nil: it did not
	actor    *Actor
	pid      *actor.PID
}

// NewClient returns the handler of a connection, which began with the handshake r.
func NewClient(d *Deps, conn *ws.Conn, r *http.Request) *Client {
	known, _ := ws.Who(r).(*Principal)
	w := newWindow()
	w.backlog = d.Backlog
	return &Client{d: d, conn: conn, window: w, promised: r.URL.Query().Has("hello"), known: known}
}

// promisedWait is how long one may take to send hello that said it would: it may have a session to resume, and a new one would
// be another member's.
const promisedWait = 10 * time.Second

// Opened implements ws.Handler.
func (c *Client) Opened() time.Duration {
	number := c.d.next.Add(1)
	a := newActor(c.d, c.conn, c.window, number)
	if c.known != nil {
		a.core.Known(c.known)
	}
	// Until the actor is known to the registry nothing can be addressed to it, so the entry may be set first.
	a.entry = c.d.Registry.add(number, nil)
	pid, err := c.d.System.Spawn(context.Background(), fmt.Sprintf("member-%d", number), a, actorkit.SpawnOptions()...)
	if err != nil {
		c.d.Registry.remove(a.entry)
		c.d.Logger.Warn("member could not be started", "err", err)
		c.conn.CloseWith(clientv1.CloseCode_CLOSE_CODE_OVERLOADED)
		return 0
	}
	c.actor, c.pid = a, pid
	c.d.Registry.bind(a.entry, pid)
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
func (c *Client) Message(payload []byte) {
	if c.pid == nil {
		return
	}
	defer func() { // this is the connection's goroutine, and not the actor's
		if p := recover(); p != nil {
			c.d.fault(p)
			c.conn.CloseWith(clientv1.CloseCode_CLOSE_CODE_INTERNAL)
			c.window.close()
		}
	}()
	bytes := len(payload) + frameWeight
	if !c.window.take(bytes) {
		return
	}
	env, err := c.conn.Codec().Decode(payload)
	cmd := &Command{Env: env, Bytes: bytes, At: c.d.Now()}
	if err != nil {
		cmd.Env, cmd.Err = nil, decodeError(err)
	}
	c.d.metrics.received(cmd)
	cmd.Span = c.d.span(cmd)
	if !tell(c.pid, &commandMsg{cmd}) {
		cmd.Span.End()
		c.conn.CloseWith(clientv1.CloseCode_CLOSE_CODE_INTERNAL)
	}
}

// unproven says that the client has to say who it is still.
func (c *Client) unproven() bool { return c.d.Authenticate != nil && c.known == nil }

// Silence implements ws.Handler.
func (c *Client) Silence() {
	if c.promised && !c.unproven() {
		c.conn.CloseWith(clientv1.CloseCode_CLOSE_CODE_INTERNAL)
		return
	}
	if c.pid != nil {
		tell(c.pid, &silenceMsg{})
	}
}

// Closed implements ws.Handler.
func (c *Client) Closed(code int) {
	c.d.Logger.Debug("connection closed", "code", code, "remote_addr", c.conn.RemoteAddr().String())
	if c.pid != nil {
		tell(c.pid, &closedMsg{})
	}
}

func decodeError(err error) *codec.DecodeError {
	if e, ok := err.(*codec.DecodeError); ok { //nolint:errorlint // Decode promises exactly this type
		return e
	}
	return &codec.DecodeError{Code: clientv1.ErrorCode_ERROR_CODE_BAD_FRAME, Message: "frame cannot be read"}
}
