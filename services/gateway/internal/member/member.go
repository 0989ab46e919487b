package member

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/services/gateway/internal/hub"
	"github.com/parley-rt/parley/services/gateway/internal/route"
	"github.com/parley-rt/parley/services/gateway/internal/ws"
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

// Member is the shell of one connection's Core. Its Shard takes its turns; what others may touch beside them is said at the field.
type Member struct {
	d      *Deps
	conn   Socket
	window window
	number uint64
	core   Core
	turn   *Turn // on the way in; nil before and after

	broken bool // there was a fault: only the end is waited for
	over   bool // the end has been
	// asked: a Drained is on its way, so that one is enough for all that want room.
	asked bool
	// kept: HasRoom said yes, and no page was sent since.
	kept bool

	place place // the registry's
}

// init makes a member that can be given to the registry.
func (m *Member) init(d *Deps, conn Socket) {
	m.d, m.conn, m.number = d, conn, d.next.Add(1)
	m.window.init(d.Backlog)
	m.core.init(&d.Config, (*effects)(m), rand.Uint64()>>1)
}

// take has the member's turn: msg is for it.
func (m *Member) take(now time.Time, msg message) {
	_, last := msg.(*closedMsg)
	if m.over || m.broken && !last {
		return
	}
	defer m.recover()
	defer m.giveRoom()
	switch msg := msg.(type) {
	case *commandMsg:
		m.core.Frame(now, &msg.cmd)
	case *answerMsg:
		m.answer(now, msg)
	case *tickMsg:
		if next := m.core.Tick(now); !next.IsZero() {
			m.d.Registry.wake(m, next)
		}
	case *restMsg:
		m.core.Rest(now)
	case *silenceMsg:
		m.core.Silence(now)
	case *admittedMsg:
		m.core.Admitted()
	case *authenticatedMsg:
		m.core.Authenticated(now, msg.principal, msg.err)
	case *expiredMsg:
		m.core.Expired(now)
	case *openedMsg:
		m.opened(now, msg)
	case *savedMsg:
		m.core.RoomsSaved(now, msg.version, msg.err)
	case *drainedMsg:
		m.asked = false
		m.core.Drained(now)
	case *evictedMsg:
		m.core.Evicted(now, msg.room, msg.number)
	case *linkDownMsg:
		m.core.LinkDown(now, msg.node)
	case *linkLostMsg:
		m.core.LinkLost(now, msg.node)
	case *replacedMsg:
		m.core.Replaced()
	case *sessionGoneMsg:
		m.core.SessionGone()
	case *blockedMsg:
		m.core.Blocked(now, &msg.block)
	case *drainMsg:
		m.core.Drain(now, msg.afterMS)
	case *faultMsg:
		m.fail()
	case *closedMsg:
		m.letGo()
	}
}

// giveRoom gives back what was kept for a page that did not come.
func (m *Member) giveRoom() {
	if m.kept && m.core.page == nil {
		m.kept = false
		m.conn.GiveRoom()
	}
}

// recover ends a turn. A fault costs this connection a reconnect and nobody else anything (S9).
func (m *Member) recover() {
	if p := recover(); p != nil {
		m.d.fault(p)
		m.fail()
	}
}

func (m *Member) fail() {
	m.broken = true
	m.conn.CloseWith(clientv1.CloseCode_CLOSE_CODE_INTERNAL)
	m.window.close()
}

// fault logs a panic. Call it from the deferred function that recovered it: the stack is still there.
func (d *Deps) fault(p any) {
	d.Logger.Error("fault in a member; its connection is closed to resume", "err", fmt.Sprint(p), "stack", string(debug.Stack()))
}

func (m *Member) letGo() {
	m.over = true
	(*effects)(m).Entered()
	m.d.Registry.remove(m)
	if m.core.session.ID != "" {
		m.d.Registry.release(m.core.session.id, m)
	}
	m.window.close()
	if m.broken {
		m.core.Abandon()
		return
	}
	m.core.Stop()
}

func (m *Member) answer(now time.Time, msg *answerMsg) {
	f, err := route.Decode(msg.frame)
	if err != nil {
		m.d.Logger.Warn("answer of a rooms node cannot be read", "peer", msg.from, "err", err)
		return
	}
	m.core.Answer(now, msg.from, f)
}

func (m *Member) opened(now time.Time, msg *openedMsg) {
	if msg.opened.Err != nil {
		m.d.Logger.Warn("session could not be opened", "err", msg.opened.Err)
	}
	m.core.SessionOpened(now, msg.opened)
	// One that came too late for its connection is left to expire.
	if id, _ := m.core.Session(); id != "" && !m.d.Registry.claim(msg.opened.id, msg.opened.Generation, msg.opened.Member, m) {
		m.core.Replaced()
	}
}

// Drained implements ws.Waiter.
func (m *Member) Drained() { m.tell(&drainedMsg{to{m}}) }

// Evicted implements hub.Evictee.
func (m *Member) Evicted(room string, number uint64) { m.tell(&evictedMsg{to{m}, room, number}) }
