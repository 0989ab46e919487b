package core

import (
	"fmt"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/ids"
	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/ratelimit"
)

// Limits of a publish.
const (
	MaxMemberID    = 128
	MaxTraceparent = 128
	// MaxTracestate is what W3C asks to carry at least.
	MaxTracestate = 512

	busyRetryAfter = 1000 // ms
	// administered is how many places of the dedupe window are kept for what administrators ask.
	administered = 1024
)

// Draft is a room's state plus what the commands of one batch decided.
type Draft struct {
	s          *State
	maxContent int
	seats      Seats
	rights     rightsDraft
	ids        map[[16]byte]uint64
	fired      map[[16]byte]fired
	last       uint64
	free       int
	freeKnown  bool
	gauge      *Gauge // of messages; nil: any pass
}

// Draft opens an overlay for one batch. maxContent is the service's limit of a message's content in bytes; seats tells who
// is in the room.
func (s *State) Draft(maxContent int, seats Seats) *Draft {
	s.drafted = nil
	return &Draft{s: s, maxContent: maxContent, seats: seats, rights: rightsDraft{base: &s.rights}, last: s.lastMessage}
}

// Within has the draft refuse what is more than the room takes by its settings and the service's. A batch that fails to be stored has
// used it all the same: it was no less work.
func (d *Draft) Within(g *Gauge) *Draft {
	d.gauge = g
	return d
}

// Publish decides one connection's batch of messages: the events to store, the first of which gets nextSeq, and one
// outcome per message in order.
//
// A message that is known already is answered with its first seq before anything else is looked at, so that a repeat
// never turns an accepted message into a refused one. Then the member's rights are looked at as the commands before this
// one have left them (S8).
func (d *Draft) Publish(p *roomv1.Publish, nextSeq uint64, now time.Time) ([]persistence.Event, []*roomv1.Outcome) {
	member := p.MemberId
	outcomes := make([]*roomv1.Outcome, len(p.Drafts))
	var events []persistence.Event
	var denial *Denial
	looked := p.Unchecked
	var owed ratelimit.Cost
	for i, m := range p.Drafts {
		if err := ids.CheckMessageID(m.GetMessageId()); err != nil {
			outcomes[i] = refuse(clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, err.Error(), 0)
			continue
		}
		id := ids.DedupeKey(member, m.MessageId)
		if seq, ok := d.find(id); ok {
			outcomes[i] = &roomv1.Outcome{Seq: seq, Duplicate: true}
			continue
		}
		if err := checkDraft(member, m); err != nil {
			outcomes[i] = refuse(clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, err.Error(), 0)
			continue
		}
		if !looked {
			denial, looked = silenced(&d.rights, d.seats, member, now), true
		}
		if denial != nil {
			outcomes[i] = &roomv1.Outcome{Refused: denial.Refused(now)}
			continue
		}
		if r := d.limit(m, now); r != nil {
			outcomes[i] = r
			continue
		}
		if r := d.tooMuch(p, m, &owed, now); r != nil {
			outcomes[i] = r
			continue
		}
		e, err := d.post(id, member, m, nil, nextSeq, now)
		if err != nil {
			outcomes[i] = refuse(clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "message cannot be encoded", 0)
			continue
		}
		events = append(events, e)
		outcomes[i] = &roomv1.Outcome{Seq: nextSeq}
		nextSeq++
	}
	return events, outcomes
}

func (d *Draft) find(id [16]byte) (uint64, bool) {
	if seq, ok := d.ids[id]; ok {
		return seq, true
	}
	return d.s.window.Find(id)
}

// checkDraft finds what is wrong with a message wherever it is published.
func checkDraft(member string, m *roomv1.Draft) error {
	switch {
	case member == "" || len(member) > MaxMemberID || !utf8.ValidString(member):
		return fmt.Errorf("member id must be 1 to %d bytes of UTF-8", MaxMemberID)
	case !utf8.ValidString(m.Content):
		return errContent
	case m.SentAt != nil && !m.SentAt.IsValid():
		return errSentAt
	}
	return nil
}

// limit returns why the room does not take the message now, nil when it does.
func (d *Draft) limit(m *roomv1.Draft, now time.Time) *roomv1.Outcome {
	most := d.maxContent
	if n := d.rights.settings().GetMaxContentBytes(); n > 0 {
		most = min(most, int(n))
	}
	if len(m.Content) > most {
		return refuse(clientv1.ErrorCode_ERROR_CODE_TOO_LARGE,
			fmt.Sprintf("content has %d bytes, the room takes %d", len(m.Content), most), 0)
	}
	// A room that is flooded can still be moderated.
	if !d.fits(min(administered, d.s.window.max/64), now) {
		return refuse(clientv1.ErrorCode_ERROR_CODE_BUSY, "the room takes no more messages at this rate", busyRetryAfter)
	}
	return nil
}

// fits tells whether the dedupe window takes one more id and then so many others.
func (d *Draft) fits(others int, now time.Time) bool {
	if !d.freeKnown {
		d.free, d.freeKnown = d.s.window.Free(now), true
	}
	return len(d.ids)+others < d.free
}

func (d *Draft) remember(id [16]byte, seq uint64) {
	if d.ids == nil {
		d.ids = make(map[[16]byte]uint64)
	}
	d.ids[id] = seq
}

// post makes the event of a message; firing is nil unless a schedule publishes it.
func (d *Draft) post(id [16]byte, member string, m *roomv1.Draft, firing *journalv1.Firing, seq uint64, now time.Time) (persistence.Event, error) {
	sentAt := m.SentAt
	if sentAt == nil {
		sentAt = timestamppb.New(now)
	}
	traceparent, tracestate := m.Traceparent, m.Tracestate
	if len(traceparent) > MaxTraceparent || !utf8.ValidString(traceparent) {
		traceparent = ""
	}
	if traceparent == "" || len(tracestate) > MaxTracestate || !utf8.ValidString(tracestate) {
		tracestate = ""
	}
	e, err := encode(ManifestMessagePosted, id, &journalv1.MessagePosted{
		MemberId:    member,
		MessageId:   m.MessageId,
		Content:     m.Content,
		SentAt:      sentAt,
		PrevSeq:     d.last,
		Traceparent: traceparent,
		Tracestate:  tracestate,
		Firing:      firing,
	})
	if err != nil {
		return persistence.Event{}, err
	}
	d.s.drafted = append(d.s.drafted, drafted{id: id, firing: firing, message: &roomv1.Message{
		Seq:         seq,
		PrevSeq:     d.last,
		Sender:      member,
		MessageId:   m.MessageId,
		Content:     m.Content,
		SentAt:      sentAt,
		Traceparent: traceparent,
		Tracestate:  tracestate,
	}})
	d.remember(id, seq)
	d.last = seq
	return e, nil
}

func refuse(code clientv1.ErrorCode, message string, retryAfterMs uint32) *roomv1.Outcome {
	return &roomv1.Outcome{Refused: &roomv1.Refused{Code: int32(code), Message: message, RetryAfterMs: retryAfterMs}}
}
