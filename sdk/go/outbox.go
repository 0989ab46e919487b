package parley

import (
	"fmt"
	"math"
	"slices"
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

const (
	// window is how many publishes of a room are sent without an answer; the server takes this many in one batch.
	window = 64
	// settleTime bounds how long after its first attempt a publish is sent again. The server recognises a repeat for two
	// minutes; the difference is for the way there, on which a process may stand still for 20 s and a gateway try for 5 s.
	settleTime = 90 * time.Second
)

// outbox is one room's unanswered publishes in their order: the pure half of publishing.
//
//	          take                    acked
//	queued ──────────► sent ─────────────────────► settled
//	  ▲                 │ │ refused for good, or settleTime over
//	  │  disconnected   │ └──────────────────────► failed
//	  └─────────────────┤
//	                    │ refused retryably, or no answer
//	                    └──► refused ──take (when due)──► sent
//
// A publication that was ever refused is suspect until it is settled: it may be stored or not, and whatever is sent after
// it could be stored before it. So nothing behind a suspect is sent, and a suspect is sent alone.
type outbox struct {
	list     []*publication
	byID     map[string]*publication
	inFlight int
	recent   recent
}

type publicationState int

const (
	queued publicationState = iota
	sent
	refused
	finished
)

// publication is one message on its way.
type publication struct {
	msg   *clientv1.Message
	bytes int

	state   publicationState
	suspect bool
	// attempts counts sends; firstSent is the first one's time.
	attempts  int
	firstSent time.Time
	sentAt    time.Time
	// notBefore is when a refused publication may be sent again.
	notBefore time.Time
	// frameID is the id of the current attempt's frame, 0 before the first.
	frameID uint32
	cause   error // of the newest refusal

	// floor is the newest seq known of the room at the first attempt: a message with this id at or below it is not this one.
	floor uint64
	// slots gets one receive when the publication is finished, so that another one may be queued. Nil: it has no slot.
	slots <-chan struct{}
	done  chan struct{} // closed when finished; ack and err are then final
	ack   Ack
	err   error
}

func newOutbox() outbox { return outbox{byID: map[string]*publication{}} }

// add queues p behind all others.
func (o *outbox) add(p *publication) error {
	id := p.msg.GetMessageId()
	if _, exists := o.byID[id]; exists {
		return ErrPending
	}
	o.byID[id] = p
	o.list = append(o.list, p)
	return nil
}

// take returns what is to be sent now, in order, and marks it sent. Publications that may no longer be sent again fail.
func (o *outbox) take(now time.Time) []*publication {
	o.expire(now)
	var out []*publication
	for _, p := range o.list {
		if p.suspect {
			if p.state != sent && o.inFlight == 0 && !now.Before(p.notBefore) {
				out = append(out, o.send(p, now))
			}
			break
		}
		if p.state != queued {
			continue
		}
		if o.inFlight == window {
			break
		}
		out = append(out, o.send(p, now))
	}
	return out
}

func (o *outbox) send(p *publication, now time.Time) *publication {
	if p.attempts == 0 {
		p.firstSent = now
	}
	p.attempts++
	p.state, p.sentAt = sent, now
	o.inFlight++
	return p
}

// expire fails what was tried and can no longer be tried again without the danger of a second copy.
func (o *outbox) expire(now time.Time) {
	for i := 0; i < len(o.list); {
		p := o.list[i]
		if p.state == sent || p.attempts == 0 || now.Sub(p.firstSent) < settleTime {
			i++
			continue
		}
		err := ErrOutcomeUnknown
		if p.cause != nil {
			err = fmt.Errorf("%w, the newest refusal was %w", ErrOutcomeUnknown, p.cause)
		}
		o.fail(p, err)
	}
}

// unanswered makes publications refused whose answer is overdue. The connection lives, so the answer was lost.
func (o *outbox) unanswered(now time.Time, timeout time.Duration) {
	for _, p := range o.list {
		if p.state == sent && now.Sub(p.sentAt) >= timeout {
			o.refuse(p, &Error{Code: CodeUnknownOutcome, Message: "no answer from the server", Retryable: true}, now)
		}
	}
}

// wakeAt returns the next time at which take or unanswered would do something by time alone; zero: never.
func (o *outbox) wakeAt(timeout time.Duration) time.Time {
	var at time.Time
	sooner := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	blocked := false
	for _, p := range o.list {
		switch {
		case p.state == sent:
			sooner(p.sentAt.Add(timeout))
		case p.attempts > 0:
			sooner(p.firstSent.Add(settleTime))
			if p.state == refused && !blocked && o.inFlight == 0 {
				sooner(p.notBefore)
			}
		}
		blocked = blocked || p.suspect
	}
	return at
}

// acked settles the message with this id; one that nobody waits for is ignored.
func (o *outbox) acked(ack Ack, now time.Time) {
	p := o.byID[ack.MessageID]
	if p == nil || p.attempts == 0 {
		return
	}
	o.remove(p)
	p.ack = ack
	o.recent.add(p, now)
	p.finish()
}

// seen settles a message by the sight of it in the stream: it is durable, whether or not its ack arrives.
func (o *outbox) seen(ack Ack, now time.Time) {
	if p := o.byID[ack.MessageID]; p != nil && p.attempts > 0 && ack.Seq > p.floor {
		o.acked(ack, now)
	}
}

// waiting tells whether something could be sent at once.
func (o *outbox) waiting() bool { return len(o.list) > o.inFlight }

// refuse takes a retryable refusal of the current attempt.
func (o *outbox) refuse(p *publication, cause error, notBefore time.Time) {
	if p.state == sent {
		o.inFlight--
	}
	p.state, p.suspect, p.cause, p.notBefore = refused, true, cause, notBefore
}

// fail ends p with err.
func (o *outbox) fail(p *publication, err error) {
	maybe := p.attempts > 0
	o.remove(p)
	p.err = &PublishError{RoomID: p.msg.GetTarget(), MessageID: p.msg.GetMessageId(), MaybeStored: maybe, Err: err}
	p.finish()
}

// reject ends p with a refusal for good of its current attempt. Earlier attempts may be stored nevertheless.
func (o *outbox) reject(p *publication, cause *Error) {
	p.attempts--
	o.fail(p, cause)
}

func (o *outbox) remove(p *publication) {
	if p.state == sent {
		o.inFlight--
	}
	p.state = finished
	delete(o.byID, p.msg.GetMessageId())
	if i := slices.Index(o.list, p); i >= 0 {
		o.list = slices.Delete(o.list, i, i+1)
	}
}

func (p *publication) finish() {
	if p.slots != nil {
		<-p.slots
	}
	close(p.done)
}

// disconnected takes back what is unanswered: it is sent again, in order, on the next connection.
func (o *outbox) disconnected() {
	for _, p := range o.list {
		if p.state == sent {
			p.state = queued
		}
		p.notBefore = time.Time{}
	}
	o.inFlight = 0
}

// memberChanged fails what was sent under another member id, because dedupe goes by member.
func (o *outbox) memberChanged() {
	for _, p := range slices.Clone(o.list) {
		if p.attempts > 0 {
			o.fail(p, ErrSessionLost)
		}
	}
	o.recent = recent{}
}

// failAll ends everything.
func (o *outbox) failAll(err error) {
	for _, p := range slices.Clone(o.list) {
		o.fail(p, err)
	}
}

// rewound queues what was acknowledged in the last minute again, before everything else and in its order: the room may
// have lost it. The room's dedupe makes that harmless where it did not.
func (o *outbox) rewound(now time.Time) {
	var again []*publication
	for _, p := range o.recent.take(now) {
		id := p.msg.GetMessageId()
		if _, exists := o.byID[id]; exists {
			continue
		}
		q := &publication{
			msg: p.msg, bytes: p.bytes,
			// The first attempt counts, not the one that was acknowledged: the repeat must reach the room while it remembers.
			attempts: p.attempts, firstSent: p.firstSent, floor: math.MaxUint64,
			done: make(chan struct{}),
		}
		o.byID[id] = q
		again = append(again, q)
	}
	o.list = append(again, o.list...)
}
