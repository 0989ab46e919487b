package member

import (
	"math"
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codes"
	"github.com/parley-rt/parley/libs/ratelimit"
)

// Limits are how much clients may ask for. All connections share them.
type Limits struct {
	// Messages, Signals and Requests (joins, leaves of rooms that are not joined, history, presence, new tokens, pings) of one
	// connection.
	Messages, Signals, Requests *ratelimit.Own
	// Member bounds the messages and signals of all connections of a member.
	Member *ratelimit.Shared
	// Refusals are how many frames of a connection may be refused because of these limits, or because they never are any good (see
	// faulty); more closes it with 4505.
	Refusals *ratelimit.Own
	// Hold is how long nothing passes after a refused publish at least. What the client sent before it heard of the refusal arrives
	// meanwhile, and would overtake it (S4).
	Hold time.Duration
}

// meters are what a connection has used of Limits. Most connections have none: they only listen.
type meters struct {
	messages, signals, requests, refusals ratelimit.Meter
	// forgiven is how many refusals are not counted: see pass.
	forgiven int
	// until is when the first of the publishes passes that were refused. Before, none does: they would overtake it.
	until time.Time
	// owed is what was refused since publishes last passed: each is told when it passes behind those before it.
	owed ratelimit.Cost
}

// meter returns the connection's meters; limits are not nil.
func (c *Core) meter() *meters {
	if c.meters == nil {
		c.meters = &meters{}
	}
	return c.meters
}

// limitPublish refuses a publish that is too much, and says so.
func (c *Core) limitPublish(now time.Time, r *room, o *op) (refused bool) {
	if r.fullUntil.After(now) {
		c.tooMuch(now, o, r.fullLast.Sub(now), "the room gets more messages than it takes")
		return true
	}
	l := c.cfg.Limits
	if l == nil {
		return false
	}
	m, cost := c.meter(), ratelimit.Cost{Pieces: 1, Bytes: len(o.draft.GetContent())}
	total := cost
	held := m.until.After(now)
	if held {
		total = ratelimit.Cost{Pieces: m.owed.Pieces + cost.Pieces, Bytes: m.owed.Bytes + cost.Bytes}
	} else if l.takeMessage(now, &m.messages, l.Messages, c.session.Member, cost) {
		m.owed = ratelimit.Cost{}
		m.pass()
		return false
	}
	after := max(l.Messages.Wait(now, &m.messages, total), l.Member.Wait(now, c.session.Member, total), time.Millisecond)
	if held {
		after = max(after, m.until.Sub(now))
	} else {
		after = max(after, l.Hold)
		m.until = now.Add(after)
	}
	m.owed = total
	c.tooMuch(now, o, after, "too many messages, or too large ones")
	return true
}

// takeMessage takes from the connection and the member, or from neither.
func (l *Limits) takeMessage(now time.Time, m *ratelimit.Meter, own *ratelimit.Own, member string, cost ratelimit.Cost) bool {
	if own.Wait(now, m, cost) > 0 {
		_, ok := own.Take(now, m, cost) // which counts it
		return ok
	}
	if _, ok := l.Member.Take(now, member, cost); !ok {
		return false
	}
	_, ok := own.Take(now, m, cost)
	return ok
}

// limitSignal refuses a signal that is too much.
func (c *Core) limitSignal(now time.Time, o *op) (refused bool) {
	l := c.cfg.Limits
	if l == nil {
		return false
	}
	m, cost := c.meter(), ratelimit.Cost{Pieces: 1, Bytes: len(o.frame.GetSignal().GetContent())}
	if l.takeMessage(now, &m.signals, l.Signals, c.session.Member, cost) {
		m.pass()
		return false
	}
	after := max(l.Signals.Wait(now, &m.signals, cost), l.Member.Wait(now, c.session.Member, cost), time.Millisecond)
	c.tooMuch(now, o, after, "too many signals")
	return true
}

// limitRequest says after how long a request passes; 0: now, and it is taken.
func (c *Core) limitRequest(now time.Time) (after time.Duration) {
	l := c.cfg.Limits
	if l == nil {
		return 0
	}
	after, _ = l.Requests.Take(now, &c.meter().requests, ratelimit.One)
	return after
}

// limitJoin is limitRequest for a join. Those of the session's rooms are part of opening.
func (c *Core) limitJoin(now time.Time, o *op) time.Duration {
	if o.entering {
		return 0
	}
	return c.limitRequest(now)
}

// limitFrame refuses a request that concerns no room when there were too many: a new token, whose check takes time, or a ping.
func (c *Core) limitFrame(now time.Time, cmd *Command) (refused bool) {
	after := c.limitRequest(now)
	if after == 0 {
		return false
	}
	c.offend(now)
	code := clientv1.ErrorCode_ERROR_CODE_RATE_LIMITED
	c.out.Reply(errorFrame(cmd, cmd.Env.GetId(), code, requestsText, millis(after), "", ""))
	c.out.Release(cmd.Bytes)
	c.out.Done(cmd, codes.ErrorName(code))
	return true
}

const requestsText = "too many requests"

// tooMuch refuses an op for now.
func (c *Core) tooMuch(now time.Time, o *op, after time.Duration, message string) {
	c.offend(now)
	c.fail(o, clientv1.ErrorCode_ERROR_CODE_RATE_LIMITED, message, millis(after))
}

// millis rounds up, so that it is not too soon then.
func millis(d time.Duration) uint32 {
	return uint32(min((d + time.Millisecond - 1).Milliseconds(), math.MaxUint32))
}

// faulty refusals are the client's own doing, whatever there is to do: answering them without an end would be work without a limit.
func faulty(code clientv1.ErrorCode) bool {
	switch code {
	case clientv1.ErrorCode_ERROR_CODE_BAD_FRAME, clientv1.ErrorCode_ERROR_CODE_UNKNOWN_KIND, clientv1.ErrorCode_ERROR_CODE_HELLO_LATE,
		clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, clientv1.ErrorCode_ERROR_CODE_INVALID_ROOM,
		clientv1.ErrorCode_ERROR_CODE_NOT_JOINED, clientv1.ErrorCode_ERROR_CODE_FORBIDDEN:
		return true
	default:
		return false
	}
}

const (
	// forgiveness is how many refusals a message or signal that passes makes up for. Who sends many at once, is refused some and sends those
	// again when they pass is refused as often as not, for as long as it has more than its rate, and does nothing wrong; who
	// does not heed is refused many times as often.
	forgiveness = 2
	// mostForgiven is how far that goes ahead: about what is on its way when the first is refused.
	mostForgiven = 128
)

// pass notes a message or signal that was not too much.
func (m *meters) pass() { m.forgiven = min(m.forgiven+forgiveness, mostForgiven) }

// offend counts a refusal. A client that does not heed when it is told to come again is sent away, once this input is dealt with.
func (c *Core) offend(now time.Time) {
	l := c.cfg.Limits
	if l == nil {
		return
	}
	m := c.meter()
	if m.forgiven > 0 {
		m.forgiven--
		return
	}
	if _, ok := l.Refusals.Take(now, &m.refusals, ratelimit.One); !ok {
		c.abusive = true
	}
}
