package book

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/tochemey/goakt/v4/actor"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/ask"
	"github.com/parley-rt/parley/libs/opskit/failpoint"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codes"
	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/scheduler/internal/book/core"
)

// maxReason bounds why a firing failed, as it is stored.
const maxReason = 200

// flight is an open firing on its way: it is sent, or waits to be sent again, or its end waits to be stored.
type flight struct {
	core.Started
	attempts int
	sending  bool
	// at is when it is to be sent, or its end stored, next.
	at time.Time
	// verdict is how it ended, until that is stored. storing: it is on its way.
	verdict *journalv1.FiringEnded
	storing bool
	// unknown: the last that left this node was not answered.
	unknown bool
	// Of the last attempt.
	code   clientv1.ErrorCode
	reason string
}

func (f *flight) unstored(again time.Time) { f.storing, f.at = false, again }

// sent says how an attempt went.
type sent struct {
	flight  *flight
	outcome *roomv1.Outcome
	err     error
}

// sender sends open firings. It is the actor's: only what it started in goroutines runs beside.
type sender struct {
	book    *Book
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	// flights are all open firings by schedule; fresh those that were never sent, in their order; later those that wait.
	flights map[string]*flight
	fresh   []*flight
	later   map[*flight]struct{}
	// How many are being sent, and how many of these not for the first time.
	sending, retrying int
}

func newSender(b *Book) *sender {
	s := &sender{book: b, flights: make(map[string]*flight), later: make(map[*flight]struct{})}
	s.ctx, s.cancel = context.WithCancel(b.cfg.Term)
	return s
}

// stop ends what is being sent.
func (s *sender) stop() {
	s.cancel()
	s.running.Wait()
}

// add takes a firing that was opened.
func (s *sender) add(f core.Started) {
	fl := &flight{Started: f}
	s.flights[f.ID] = fl
	s.fresh = append(s.fresh, fl)
}

// drop forgets the firing of a schedule that was deleted. What is on its way still arrives.
func (s *sender) drop(id string) {
	if f := s.flights[id]; f != nil {
		delete(s.flights, id)
		delete(s.later, f)
	}
}

// open tells whether a flight is still that of its schedule.
func (s *sender) open(f *flight) bool { return s.flights[f.ID] == f }

// run sends what there is place for of what was never sent.
func (s *sender) run(rctx *actor.ReceiveContext) {
	for len(s.fresh) > 0 && s.sending < s.book.cfg.Sending {
		f := s.fresh[0]
		s.fresh[0] = nil
		if s.fresh = s.fresh[1:]; len(s.fresh) == 0 {
			s.fresh = nil
		}
		if s.open(f) {
			s.send(rctx.Self(), f)
		}
	}
}

// again sends anew, stores or gives up what waits and is due. It looks through all that waits, which may be a great deal while rooms
// cannot be reached: it is for every tick, not for everything that happens.
func (s *sender) again(rctx *actor.ReceiveContext, now time.Time) {
	for f := range s.later {
		switch {
		case now.Before(f.at):
		case f.verdict != nil:
			s.store(rctx, f)
		case !now.Before(f.Until):
			s.give(rctx, f)
		case s.retrying < s.book.cfg.Retrying && s.sending < s.book.cfg.Sending:
			delete(s.later, f)
			s.send(rctx.Self(), f)
		}
	}
}

func (s *sender) send(self *actor.PID, f *flight) {
	failpoint.Hit("scheduler.before-publish")
	f.sending = true
	f.attempts++
	s.sending++
	if f.attempts > 1 {
		s.retrying++
	}
	s.book.cfg.Metrics.sending.Add(1)
	s.book.cfg.Metrics.attempts.Add(s.ctx, 1)
	s.running.Go(func() {
		outcome, err := s.attempt(f.Started)
		s.book.cfg.Metrics.sending.Add(-1)
		failpoint.Hit("scheduler.after-publish")
		_ = self.Tell(context.Background(), self, &sent{flight: f, outcome: outcome, err: err}) // it has stopped: so has all this
	})
}

// attempt has the room take the firing once.
func (s *sender) attempt(f core.Started) (*roomv1.Outcome, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.book.cfg.Within)
	defer cancel()
	answer, err := s.book.cfg.Rooms.Ask(ctx, &roomv1.Frame{RoomId: f.Room, Kind: &roomv1.Frame_Publish{Publish: &roomv1.Publish{
		MemberId: f.Sender,
		Firing:   &roomv1.Firing{ScheduleId: f.ID, Number: f.Number},
		Drafts: []*roomv1.Draft{{
			MessageId: fmt.Sprintf("schedule:%s:%d", f.ID, f.Number), Content: f.Content, SentAt: timestamppb.New(f.Due),
		}},
	}}})
	if err != nil {
		return nil, err
	}
	if outcomes := answer.GetPublished().GetOutcomes(); len(outcomes) == 1 {
		return outcomes[0], nil
	}
	return nil, fmt.Errorf("%w: %T", errAnswer, answer.GetKind())
}

var errAnswer = errors.New("the room answered something else than was asked")

// came takes how an attempt went.
func (s *sender) came(rctx *actor.ReceiveContext, m *sent) {
	f := m.flight
	f.sending = false
	s.sending--
	if f.attempts > 1 {
		s.retrying--
	}
	now := s.book.cfg.Now()
	defer s.run(rctx)
	if !s.open(f) {
		return
	}
	if m.err == nil && m.outcome.Refused == nil {
		f.verdict = &journalv1.FiringEnded{Number: f.Number, Seq: m.outcome.Seq}
		s.store(rctx, f)
		return
	}
	s.note(f, m)
	if final(f.code) || !now.Before(f.Until) {
		s.give(rctx, f)
		return
	}
	pause := s.book.cfg.RetryFirst << min(f.attempts-1, 20)
	if pause <= 0 || pause > s.book.cfg.RetryMost {
		pause = s.book.cfg.RetryMost
	}
	f.at = now.Add(min(pause/2+rand.N(pause), f.Until.Sub(now)))
	s.later[f] = struct{}{}
}

// note keeps why an attempt failed. A room looks for what it has before it refuses: what it refuses it does not have.
func (s *sender) note(f *flight, m *sent) {
	var refused *ask.RefusedError
	switch {
	case m.err == nil:
		f.unknown = false
		f.code, f.reason = clientv1.ErrorCode(m.outcome.Refused.Code), m.outcome.Refused.Message
	case errors.As(m.err, &refused):
		f.unknown = f.unknown || errors.Is(m.err, ask.ErrUnanswered)
		f.code, f.reason = refused.Code, refused.Message
	case errors.Is(m.err, actorkit.ErrFrameTooLarge):
		f.code, f.reason = clientv1.ErrorCode_ERROR_CODE_TOO_LARGE, "the message is too large to be sent"
	default:
		f.unknown = f.unknown || !errors.Is(m.err, ask.ErrUnreachable)
		f.code, f.reason = 0, m.err.Error()
	}
}

// final refusals are those that another attempt cannot change.
func final(code clientv1.ErrorCode) bool {
	switch code {
	case clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, clientv1.ErrorCode_ERROR_CODE_INVALID_ROOM, clientv1.ErrorCode_ERROR_CODE_BAD_FRAME:
		return true
	default:
		return false
	}
}

// give ends a firing that failed.
func (s *sender) give(rctx *actor.ReceiveContext, f *flight) {
	reason := f.reason
	if reason == "" {
		reason = "it was not sent in time"
		if f.code != 0 {
			reason = codes.ErrorName(f.code)
		}
	}
	f.verdict = &journalv1.FiringEnded{Number: f.Number, Code: int32(f.code), Reason: bounded(reason), Unknown: f.unknown}
	s.store(rctx, f)
}

// bounded makes a reason one that can be stored: of at most maxReason bytes, and UTF-8, without which its event would not be encoded and
// the firing stay open for ever.
func bounded(reason string) string {
	reason = strings.ToValidUTF8(reason, "?")
	if len(reason) <= maxReason {
		return reason
	}
	const more = "…"
	return strings.ToValidUTF8(reason[:maxReason-len(more)], "") + more
}

// store has the end of a firing stored. Until it is, the flight is among those that wait.
func (s *sender) store(rctx *actor.ReceiveContext, f *flight) {
	s.later[f] = struct{}{}
	if f.storing {
		return
	}
	f.storing = true
	if !s.book.submit(rctx, s.book.shardOf(f.ID), &order{command: &core.End{ID: f.ID, Ended: f.verdict}, flight: f}, 0) {
		f.unstored(s.book.cfg.Now().Add(storePause))
	}
}

// ended takes that the end of a firing is stored.
func (s *sender) ended(f *flight, now time.Time) {
	if !s.open(f) {
		return
	}
	s.drop(f.ID)
	s.book.cfg.Metrics.ended(f.verdict.Reason != "", now.Sub(f.Due))
}
