package member

import (
	"slices"
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codes"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/gateway/internal/few"
)

type phase int

const (
	phaseWaiting phase = iota // for the first frame
	phaseProving              // the client's token is being checked
	phaseQueued               // others are opening theirs
	phaseOpening              // the session store was asked
	phaseOpen
	phaseClosed
)

// Core is the state of one connection.
//
//	waiting ──first frame or silence──► queued ──admitted──► opening ──session──► open ──┐
//	   │  │ with authentication           ▲ │ too long            │ store away or slow   │ replaced, drained, expired,
//	   │  └──────────────► proving ───────┘ ▼                     ▼                      ▼ session gone
//	   └──silence, no proof──►└─────────► closed ◄──────────── closed ◄───────────────  closed ──socket gone──► Stop
//
// Not safe for concurrent use. After every input the caller has nothing else to do: effects were carried out in it.
type Core struct {
	cfg   *Config
	out   Effects
	phase phase

	principal *Principal // who the client has proved to be; nil before, and without authentication
	renewal   *Command   // whose token is being checked

	hello   *Command   // the first frame, if it was a hello
	held    []*Command // that came before the session was open
	asked   time.Time  // when the session was
	session Opened
	// entering are the joins of the session's rooms that are not answered: others may be waiting for them. At enterBy they
	// are not waited for any longer.
	entering int
	enterBy  time.Time

	rooms few.Map[string, *room]
	// wanted are the rooms the session's row is to list. It reads as changes; a save carries the version it wrote.
	wanted                      few.Map[string, struct{}]
	wantedVersion, savedVersion uint64
	failedVersion               uint64            // of the last save that failed; 0: none
	changes                     map[string]uint64 // rooms whose listing changed, by the version that has it, until saved
	saving                      bool

	// gathering are the rooms with publishes that have come, gathered in number, while more are about to: all that the client sent at once
	// leaves in one batch.
	gathering []*room
	gathered  int

	requests map[uint64]*request // nil when there are none: most connections idle most of the time
	number   uint64              // of the last request
	opCount  uint32              // of joins and leaves in this generation of the session

	attachments uint64 // number of the last

	signals []sentSignal // the last ones; nil when there were none

	meters  *meters // nil until something is limited
	abusive bool    // too much was refused

	pages []*op    // waiting to be asked
	page  *request // the one that is out

	// leaving is when a draining connection should be gone: from then on it is closed as soon as everything is answered.
	// Zero: it is not draining.
	leaving time.Time
	due     time.Time // earliest Wake that is pending
	scratch []*request
}

// NewCore returns the state of a connection that was just opened. firstRequest should be random: late answers to another
// life of this node must not meet a request here.
func NewCore(cfg Config, out Effects, firstRequest uint64) *Core {
	cfg = cfg.withDefaults()
	c := &Core{}
	c.init(&cfg, out, firstRequest)
	return c
}

// init is NewCore in place, with a configuration that many share and that has its defaults.
func (c *Core) init(cfg *Config, out Effects, firstRequest uint64) {
	c.cfg, c.out, c.number = cfg, out, firstRequest
}

// Frame takes one frame of the client.
func (c *Core) Frame(now time.Time, cmd *Command) {
	switch c.phase {
	case phaseWaiting:
		if cmd.Err == nil && cmd.Env.GetHello() != nil {
			c.hello = cmd
		} else {
			c.held = append(c.held, cmd)
		}
		if c.cfg.Authenticate {
			c.prove(now)
		} else {
			c.open(now)
		}
	case phaseProving, phaseQueued, phaseOpening:
		c.held = append(c.held, cmd)
	case phaseOpen:
		if c.shouldLeave(now) {
			c.startGathered(now)
			c.drop(cmd) // as one that arrives after the close frame, of which the client cannot know yet
			return
		}
		c.command(now, cmd)
		if !cmd.More || c.gathered >= c.cfg.BatchMessages {
			c.startGathered(now)
		}
		c.settle(now)
	case phaseClosed:
		c.drop(cmd)
	}
}

// Rest says that what was to come at once behind the last command is not there yet.
func (c *Core) Rest(now time.Time) {
	if c.phase == phaseOpen {
		c.startGathered(now)
		c.settle(now)
	}
}

// startGathered starts the publishes that waited for those behind them.
func (c *Core) startGathered(now time.Time) {
	rooms := c.gathering
	c.gathering, c.gathered = nil, 0
	for _, r := range rooms {
		c.pump(now, r)
	}
}

// Silence says that no first frame came in time.
func (c *Core) Silence(now time.Time) {
	switch {
	case c.phase != phaseWaiting:
	case c.cfg.Authenticate && c.principal == nil:
		c.close(clientv1.CloseCode_CLOSE_CODE_AUTH_TIMEOUT)
	default:
		c.open(now)
	}
}

// Known says that the handshake has proved who the client is. It comes first, if at all.
func (c *Core) Known(p *Principal) { c.principal = p }

func (c *Core) open(now time.Time) {
	if c.phase == phaseWaiting { // else it counts from when the token was looked at: what was sent since waits no longer
		c.asked = now
	}
	c.phase = phaseQueued
	c.wake(c.asked.Add(c.cfg.OpenWithin))
	if c.out.Enter() {
		c.Admitted()
	}
}

// Admitted says that it is this connection's turn to open its session.
func (c *Core) Admitted() {
	if c.phase != phaseQueued {
		return
	}
	c.phase = phaseOpening
	var hello *clientv1.Hello
	if c.hello != nil {
		hello = c.hello.Env.GetHello()
	}
	member := ""
	if c.principal != nil {
		member = c.principal.Member
	}
	c.out.OpenSession(member, hello.GetSessionToken(), hello.GetAttempt())
}

// Answer takes a rooms node's answer to a request.
func (c *Core) Answer(now time.Time, from string, f *roomv1.Frame) {
	if c.phase != phaseOpen {
		return
	}
	if q := c.requests[f.GetRequest()]; q != nil {
		c.answer(now, q, from, f)
	} else {
		c.signalRefused(f)
	}
	c.settle(now)
}

// LinkDown says that what was on its way to a node is lost.
func (c *Core) LinkDown(now time.Time, node string) {
	if c.phase != phaseOpen {
		return
	}
	for _, q := range c.snapshot() {
		if q.node == node && c.requests[q.number] == q {
			q.avoid = append(q.avoid[:0], node)
			c.send(now, q)
		}
	}
	c.settle(now)
}

// LinkLost says that answers of a node are missing: it is asked again for those that have not come.
func (c *Core) LinkLost(now time.Time, node string) {
	if c.phase != phaseOpen {
		return
	}
	for _, q := range c.snapshot() {
		if q.node == node && c.requests[q.number] == q {
			c.send(now, q)
		}
	}
	c.settle(now)
}

// Drained says that the client read enough to be sent a page.
func (c *Core) Drained(now time.Time) {
	if c.phase != phaseOpen {
		return
	}
	for _, o := range c.pages {
		o.cmd.At = now // the time until here was the client's
	}
	c.settle(now)
}

// Tick does what is due and returns when to come back; zero: nothing waits.
func (c *Core) Tick(now time.Time) time.Time {
	switch c.phase {
	case phaseProving, phaseQueued, phaseOpening:
		return c.tickOpening(now)
	case phaseWaiting, phaseClosed:
		return time.Time{}
	case phaseOpen:
	}
	if c.entering > 0 && !now.Before(c.enterBy) {
		c.entered(c.entering)
	}
	for _, q := range c.snapshot() {
		if c.requests[q.number] == q {
			c.tickRequest(now, q)
		}
	}
	for _, r := range c.rooms.All() {
		c.expireSave(now, r)
		c.expireWaiting(now, r)
	}
	c.expirePages(now)
	c.settle(now)
	if c.phase != phaseOpen {
		return time.Time{}
	}
	c.due = c.nextDue(now)
	return c.due
}

// tickOpening gives up on a session store that does not answer: what the client sent meanwhile must not wait longer.
func (c *Core) tickOpening(now time.Time) time.Time {
	c.due = c.asked.Add(c.cfg.OpenWithin)
	if now.Before(c.due) {
		return c.due
	}
	if c.phase == phaseQueued {
		c.reconnect(c.out.Later(), clientv1.CloseCode_CLOSE_CODE_OVERLOADED)
		c.close(clientv1.CloseCode_CLOSE_CODE_OVERLOADED)
	} else {
		c.close(clientv1.CloseCode_CLOSE_CODE_INTERNAL)
	}
	return time.Time{}
}

// reconnect tells the client when to come back, and why.
func (c *Core) reconnect(after time.Duration, reason clientv1.CloseCode) {
	c.out.Reply(&clientv1.Envelope{Kind: &clientv1.Envelope_Reconnect{Reconnect: &clientv1.Reconnect{
		AfterMs: uint32(after.Milliseconds()), Reason: codes.CloseName(reason),
	}}})
}

// entered notes that so many of the session's rooms are joined, or are not waited for.
func (c *Core) entered(rooms int) {
	if c.entering == 0 {
		return
	}
	if c.entering -= rooms; c.entering == 0 {
		c.out.Entered()
	}
}

// Replaced says that a newer connection resumed the session.
func (c *Core) Replaced() { c.close(clientv1.CloseCode_CLOSE_CODE_SESSION_REPLACED) }

// SessionGone says that the session expired or was deleted under its connection: the client comes back and gets a new one.
func (c *Core) SessionGone() { c.close(clientv1.CloseCode_CLOSE_CODE_INTERNAL) }

// Drain tells the client to come back elsewhere after afterMS. Until then it is served as before; then it is closed once its
// commands are answered, and what it still sends is dropped unanswered, as it would be behind the close frame.
func (c *Core) Drain(now time.Time, afterMS uint32) {
	if c.phase == phaseClosed || !c.leaving.IsZero() {
		return
	}
	after := time.Duration(afterMS) * time.Millisecond
	c.reconnect(after, clientv1.CloseCode_CLOSE_CODE_DRAIN)
	if c.phase != phaseOpen {
		c.close(clientv1.CloseCode_CLOSE_CODE_DRAIN)
		return
	}
	c.leaving = now.Add(after)
	c.wake(c.leaving)
}

// Stop says that the socket is gone: everything is let go and nothing more is sent for it.
func (c *Core) Stop() {
	c.phase = phaseClosed
	if c.hello != nil {
		c.drop(c.hello)
		c.hello = nil
	}
	for _, cmd := range c.held {
		c.drop(cmd)
	}
	c.held, c.gathering = nil, nil
	if c.renewal != nil {
		c.drop(c.renewal)
		c.renewal = nil
	}
	for _, q := range c.requests {
		for _, o := range q.ops {
			c.abandon(o)
		}
	}
	for _, o := range c.pages {
		c.abandon(o)
	}
	for _, r := range c.rooms.All() {
		if r.active != nil {
			c.abandon(r.active)
		}
		for _, o := range r.waiting {
			c.abandon(o)
		}
		if r.attached {
			c.out.Detach(r.id, nil)
		}
	}
	c.rooms, c.requests, c.pages, c.page = few.Map[string, *room]{}, nil, nil, nil
}

// Abandon is Stop after a fault, when the state cannot be trusted: it only ends the streams.
func (c *Core) Abandon() {
	c.phase = phaseClosed
	for _, r := range c.rooms.All() {
		if r.attached {
			c.out.Detach(r.id, nil)
		}
	}
}

// Session returns the id and generation of the open session; empty before.
func (c *Core) Session() (id string, generation uint64) { return c.session.ID, c.session.Generation }

// Member returns the member's id; empty before the session is open.
func (c *Core) Member() string { return c.session.Member }

// Idle says that nothing the client asked for is unanswered.
func (c *Core) Idle() bool {
	if c.phase != phaseOpen {
		return c.phase == phaseClosed
	}
	if len(c.requests) > 0 || len(c.pages) > 0 || c.renewal != nil {
		return false
	}
	for _, r := range c.rooms.All() {
		if r.active != nil || len(r.waiting) > 0 {
			return false
		}
	}
	return true
}

// settle ends every input: it starts what became possible.
func (c *Core) settle(now time.Time) {
	if c.phase != phaseOpen {
		return
	}
	if c.abusive {
		c.close(clientv1.CloseCode_CLOSE_CODE_ABUSE)
		return
	}
	c.pumpPages(now)
	c.startSave()
	if c.shouldLeave(now) && (c.Idle() || !now.Before(c.leaving.Add(c.cfg.DrainGrace))) {
		c.close(clientv1.CloseCode_CLOSE_CODE_DRAIN)
	}
}

// shouldLeave says that the time is over after which a draining connection was to come back elsewhere.
func (c *Core) shouldLeave(now time.Time) bool { return !c.leaving.IsZero() && !now.Before(c.leaving) }

func (c *Core) close(code clientv1.CloseCode) {
	if c.phase == phaseClosed {
		return
	}
	c.phase = phaseClosed
	c.out.Close(code)
}

func (c *Core) drop(cmd *Command) {
	c.out.Release(cmd.Bytes)
	c.out.Done(cmd, outcomeClosed)
}

func (c *Core) abandon(o *op) {
	if !o.answered {
		c.answered(o)
		c.release(o)
		c.out.Done(o.cmd, outcomeClosed)
	}
}

func (c *Core) wake(at time.Time) {
	if c.due.IsZero() || at.Before(c.due) {
		c.due = at
		c.out.Wake(at)
	}
}

func (c *Core) nextDue(now time.Time) time.Time {
	var due time.Time
	earlier := func(t time.Time) {
		if !t.IsZero() && (due.IsZero() || t.Before(due)) {
			due = t
		}
	}
	if c.entering > 0 {
		earlier(c.enterBy)
	}
	if c.leaving.After(now) {
		earlier(c.leaving)
	} else if !c.leaving.IsZero() {
		earlier(c.leaving.Add(c.cfg.DrainGrace))
	}
	for _, q := range c.requests {
		earlier(q.due(c.cfg))
	}
	if c.page != nil && len(c.pages) > 0 {
		earlier(c.pages[0].cmd.At.Add(c.cfg.AnswerWithin))
	}
	for _, r := range c.rooms.All() {
		if r.saving() {
			earlier(r.active.cmd.At.Add(c.cfg.AnswerWithin))
		}
		if len(r.waiting) > 0 {
			earlier(r.waiting[0].cmd.At.Add(c.cfg.AnswerWithin))
		}
	}
	return due
}

// snapshot lists the requests, oldest first, so that they can be changed while going through them.
func (c *Core) snapshot() []*request {
	c.scratch = c.scratch[:0]
	for _, q := range c.requests {
		c.scratch = append(c.scratch, q)
	}
	slices.SortFunc(c.scratch, func(a, b *request) int {
		if a.number < b.number {
			return -1
		}
		return 1
	})
	return c.scratch
}
