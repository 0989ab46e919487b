package core

import (
	"bytes"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"

	"github.com/parley-rt/parley/libs/persistence"
)

// Command is one of the types below. Specs were checked.
type Command interface{ command() }

// Commands.
type (
	// Create makes a schedule. Request, if not empty, tells a repeat from another request for the same id.
	Create struct {
		ID, Actor string
		Spec      *journalv1.ScheduleSpec
		Request   []byte
	}
	// Update replaces the spec. What is being sent stays as it was.
	Update struct {
		ID, Actor string
		Spec      *journalv1.ScheduleSpec
	}
	// Pause keeps a schedule from being due. What is open or asked for goes on.
	Pause struct{ ID, Actor string }
	// Resume ends a pause: what cron named during it is left out, a single time that has passed is due now.
	Resume struct{ ID, Actor string }
	// Delete ends a schedule and gives up what is open.
	Delete struct{ ID, Actor string }
	// Trigger has a schedule fire now, besides its timing.
	Trigger struct{ ID, Actor, OperationID string }
	// Replay has a failed firing done again: with a number of its own and what the schedule publishes now.
	Replay struct {
		ID, Actor, OperationID string
		Number                 uint64
	}
	// Drop takes a failed firing off the list.
	Drop struct {
		ID, Actor string
		Number    uint64
	}
	// Begin does what is due: it starts firings, of at most Limit schedules, and forgets those that ended long ago.
	Begin struct{ Limit int }
	// End closes a firing. One that is not open any more is no error.
	End struct {
		ID    string
		Ended *journalv1.FiringEnded
	}
)

func (*Create) command()  {}
func (*Update) command()  {}
func (*Pause) command()   {}
func (*Resume) command()  {}
func (*Delete) command()  {}
func (*Trigger) command() {}
func (*Replay) command()  {}
func (*Drop) command()    {}
func (*Begin) command()   {}
func (*End) command()     {}

// Reply is what became of a command once its events are durable.
type Reply struct {
	// Record is the schedule as it is then; nil after Begin. It is the caller's.
	Record *journalv1.ScheduleRecord
	// Duplicate: a request with the same key was carried out before.
	Duplicate bool
	// Started are the firings to be sent; More says that more is due.
	Started []Started
	More    bool
	// Missed is how many firings were left out.
	Missed uint64
	// Stuck is how many schedules are due whose timing cannot be told here, and Problem why the last of them cannot.
	Stuck   int
	Problem error
	// Err is why it was refused; nil: it was not.
	Err error
}

// Draft is the state plus what the commands of one batch decided.
type Draft struct {
	s *State
	// touched are clones of records; nil: not there (any more).
	touched map[string]*journalv1.ScheduleRecord
	weight  int
	now     time.Time
	events  []persistence.Event
	err     error
}

// Draft opens an overlay for one batch.
func (s *State) Draft() *Draft {
	return &Draft{s: s, touched: make(map[string]*journalv1.ScheduleRecord), weight: s.weight}
}

// Decide decides one command: the events to store and the reply.
func (d *Draft) Decide(c Command, now time.Time) ([]persistence.Event, Reply) {
	d.now, d.events, d.err = now, nil, nil
	reply := d.decide(c)
	if d.err != nil {
		return nil, Reply{Err: d.err}
	}
	return d.events, reply
}

func (d *Draft) decide(c Command) Reply {
	switch c := c.(type) {
	case *Create:
		return d.create(c)
	case *Begin:
		return d.begin(c)
	case *End:
		return d.end(c)
	case *Update:
		return d.change(c.ID, func(r *journalv1.ScheduleRecord) error { return d.update(r, c) })
	case *Pause:
		return d.change(c.ID, func(r *journalv1.ScheduleRecord) error {
			if r.EndedAt != nil {
				return ErrEnded
			}
			if !r.Paused {
				d.add(r, c.Actor, &journalv1.ScheduleEvent{Kind: &journalv1.ScheduleEvent_Paused{Paused: &journalv1.SchedulePaused{}}})
			}
			return nil
		})
	case *Resume:
		return d.change(c.ID, func(r *journalv1.ScheduleRecord) error { return d.resume(r, c.Actor) })
	case *Delete:
		return d.change(c.ID, func(r *journalv1.ScheduleRecord) error {
			d.add(r, c.Actor, &journalv1.ScheduleEvent{Kind: &journalv1.ScheduleEvent_Deleted{Deleted: &journalv1.ScheduleDeleted{}}})
			return nil
		})
	case *Trigger:
		return d.ask(c.ID, c.Actor, &journalv1.FiringAsked{Cause: journalv1.Cause_CAUSE_TRIGGER, OperationId: c.OperationID})
	case *Replay:
		return d.ask(c.ID, c.Actor, &journalv1.FiringAsked{Cause: journalv1.Cause_CAUSE_REPLAY, Replays: c.Number, OperationId: c.OperationID})
	case *Drop:
		return d.change(c.ID, func(r *journalv1.ScheduleRecord) error {
			if !hasFailure(r, c.Number) {
				return ErrFailure
			}
			d.add(r, c.Actor, &journalv1.ScheduleEvent{Kind: &journalv1.ScheduleEvent_FailureDropped{FailureDropped: &journalv1.FailureDropped{Number: c.Number}}})
			return nil
		})
	default:
		return Reply{Err: ErrNotFound}
	}
}

// get returns the batch's own copy of a record; nil: there is none.
func (d *Draft) get(id string) *journalv1.ScheduleRecord {
	r, ok := d.touched[id]
	if !ok {
		if r = d.s.Get(id); r != nil {
			r = proto.CloneOf(r)
		}
		d.touched[id] = r
	}
	return r
}

// add decides an event and enters it into the copy.
func (d *Draft) add(r *journalv1.ScheduleRecord, actor string, e *journalv1.ScheduleEvent) {
	e.ScheduleId, e.Actor, e.At = r.ScheduleId, actor, timestamppb.New(d.now)
	stored, err := encode(e)
	if err == nil && e.GetForgotten() == nil {
		err = enact(r, e)
	}
	if err != nil {
		d.err = err
		return
	}
	d.events = append(d.events, stored)
}

// change decides a command about a schedule that is there and not deleted.
func (d *Draft) change(id string, f func(*journalv1.ScheduleRecord) error) Reply {
	r := d.get(id)
	switch {
	case r == nil:
		return Reply{Err: ErrNotFound}
	case r.Deleted:
		return Reply{Err: ErrDeleted}
	}
	if err := f(r); err != nil {
		return Reply{Err: err}
	}
	return Reply{Record: proto.CloneOf(r)}
}

func (d *Draft) create(c *Create) Reply {
	if r := d.get(c.ID); r != nil {
		switch {
		case r.Deleted:
			return Reply{Err: ErrDeleted}
		case len(c.Request) == 0 || !bytes.Equal(c.Request, r.Request):
			return Reply{Err: ErrExists}
		}
		return Reply{Record: proto.CloneOf(r), Duplicate: true}
	}
	t, err := timingOf(c.Spec, d.now, d.s.zones)
	if err != nil {
		return Reply{Err: err}
	}
	next := t.first(d.now)
	if next == 0 {
		return Reply{Err: ErrNever}
	}
	w := weigh(c.ID, c.Spec)
	if d.weight+w > MaxShardBytes {
		return Reply{Err: ErrFull}
	}
	e := &journalv1.ScheduleEvent{
		ScheduleId: c.ID, Actor: c.Actor, At: timestamppb.New(d.now),
		Kind: &journalv1.ScheduleEvent_Created{Created: &journalv1.ScheduleCreated{Spec: c.Spec, NextDue: next, Request: c.Request}},
	}
	stored, err := encode(e)
	if err != nil {
		return Reply{Err: err}
	}
	d.weight += w
	d.events = append(d.events, stored)
	r := createdRecord(e)
	d.touched[c.ID] = r
	return Reply{Record: proto.CloneOf(r)}
}

func (d *Draft) update(r *journalv1.ScheduleRecord, c *Update) error {
	t, err := timingOf(c.Spec, r.CreatedAt.AsTime(), d.s.zones)
	if err != nil {
		return err
	}
	next := t.first(d.now)
	if spent(c.Spec, r.Fired) || t.at != 0 && r.Fired > 0 && proto.Equal(r.Spec.GetAt(), c.Spec.GetAt()) {
		next = 0 // a time that it has fired at is not due again
	}
	if next == 0 && r.EndedAt == nil && r.Open == nil {
		return ErrNever
	}
	if next == 0 && r.EndedAt != nil {
		return ErrEnded
	}
	grown := weigh(r.ScheduleId, c.Spec) - weigh(r.ScheduleId, r.Spec)
	if grown > 0 && d.weight+grown > MaxShardBytes {
		return ErrFull
	}
	d.weight += grown
	d.add(r, c.Actor, &journalv1.ScheduleEvent{Kind: &journalv1.ScheduleEvent_Updated{Updated: &journalv1.ScheduleUpdated{Spec: c.Spec, NextDue: next}}})
	return nil
}

func spent(s *journalv1.ScheduleSpec, fired uint64) bool {
	return s.MaxFirings > 0 && fired >= s.MaxFirings
}

func (d *Draft) resume(r *journalv1.ScheduleRecord, actor string) error {
	if !r.Paused {
		return nil
	}
	t, err := timingOf(r.Spec, r.CreatedAt.AsTime(), d.s.zones)
	if err != nil {
		return err
	}
	next := r.NextDue
	if next != 0 && t.at == 0 && next < d.now.Unix() {
		next = t.after(d.now)
	}
	d.add(r, actor, &journalv1.ScheduleEvent{Kind: &journalv1.ScheduleEvent_Resumed{Resumed: &journalv1.ScheduleResumed{NextDue: next}}})
	return nil
}

func (d *Draft) ask(id, actor string, asked *journalv1.FiringAsked) Reply {
	duplicate := false
	reply := d.change(id, func(r *journalv1.ScheduleRecord) error {
		switch {
		case asked.OperationId != "" && slices.Contains(r.Operations, asked.OperationId):
			duplicate = true
			return nil
		case asked.Replays != 0 && !hasFailure(r, asked.Replays):
			return ErrFailure
		case len(r.Asked) >= askedKept:
			return ErrAsked
		}
		d.add(r, actor, &journalv1.ScheduleEvent{Kind: &journalv1.ScheduleEvent_FiringAsked{FiringAsked: asked}})
		return nil
	})
	reply.Duplicate = duplicate
	return reply
}

func hasFailure(r *journalv1.ScheduleRecord, number uint64) bool {
	return slices.ContainsFunc(r.Failed, func(f *journalv1.FailedFiring) bool { return f.Number == number })
}

func (d *Draft) end(c *End) Reply {
	r := d.get(c.ID)
	if r == nil || r.Open == nil || r.Open.Started.Number != c.Ended.Number {
		return Reply{}
	}
	d.add(r, "", &journalv1.ScheduleEvent{Kind: &journalv1.ScheduleEvent_FiringEnded{FiringEnded: c.Ended}})
	return Reply{Record: proto.CloneOf(r)}
}
