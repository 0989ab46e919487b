package core

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/ids"
	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"

	"github.com/parley-rt/parley/libs/persistence"
)

const (
	// FiringsKept is how long the last firing of a schedule is remembered after its use.
	FiringsKept = 7 * 24 * time.Hour
	// FiringsSure is the age below which it is never forgotten to make room for another schedule's: twice as long as a firing
	// is sent.
	FiringsSure = 48 * time.Hour
	// SchedulesMax is how many schedules a room remembers: with the rights they stay below what a snapshot may weigh.
	SchedulesMax = 3000
)

// fired is the last firing of a schedule.
type fired struct {
	number uint64
	// seq of its message; 0: not known any more.
	seq uint64
	at  time.Time
}

// firings are the last firings of the schedules that published in the room, by ids.ScheduleKey.
type firings struct {
	last map[[16]byte]fired
}

func (f *firings) find(key [16]byte, now time.Time) (fired, bool) {
	last, ok := f.last[key]
	return last, ok && now.Sub(last.at) <= FiringsKept
}

func (f *firings) set(key [16]byte, last fired) {
	if f.last == nil {
		f.last = make(map[[16]byte]fired)
	}
	if _, known := f.last[key]; !known && len(f.last) >= SchedulesMax {
		f.makeRoom(last.at)
	}
	f.last[key] = last
}

// makeRoom forgets a sixteenth: the schedules unused for longest. A draft has looked that there are enough of those that nobody
// sends again.
func (f *firings) makeRoom(now time.Time) {
	keys := f.byUse()
	for i, key := range keys {
		if age := now.Sub(f.last[key].at); age <= FiringsSure || i >= SchedulesMax/16 && age <= FiringsKept {
			return
		}
		delete(f.last, key)
	}
}

// full tells whether no further schedule can be remembered at now.
func (f *firings) full(others int, now time.Time) bool {
	if len(f.last)+others < SchedulesMax {
		return false
	}
	forgettable := 0
	for _, last := range f.last {
		if now.Sub(last.at) > FiringsSure {
			forgettable++
		}
	}
	return len(f.last)-min(forgettable, SchedulesMax/16)+others >= SchedulesMax
}

func (f *firings) expire(now time.Time) {
	for key, last := range f.last {
		if now.Sub(last.at) > FiringsKept {
			delete(f.last, key)
		}
	}
}

// byUse lists the schedules, the one unused for longest first.
func (f *firings) byUse() [][16]byte {
	return slices.SortedFunc(maps.Keys(f.last), func(a, b [16]byte) int {
		return cmp.Or(f.last[a].at.Compare(f.last[b].at), slices.Compare(a[:], b[:]))
	})
}

func (f *firings) save(s *journalv1.RoomSnapshot) {
	if len(f.last) == 0 {
		return
	}
	s.Firings = new(journalv1.LastFirings)
	for _, key := range f.byUse() {
		last := f.last[key]
		s.Firings.Schedules = append(s.Firings.Schedules, key[:]...)
		s.Firings.Numbers = append(s.Firings.Numbers, last.number)
		s.Firings.UsedAt = append(s.Firings.UsedAt, last.at.Unix())
	}
}

func (f *firings) restore(s *journalv1.LastFirings) error {
	n := len(s.GetNumbers())
	if len(s.GetSchedules()) != 16*n || len(s.GetUsedAt()) != n {
		return fmt.Errorf("%w: last firings of %d bytes, %d numbers and %d times", ErrEvent, len(s.GetSchedules()), n, len(s.GetUsedAt()))
	}
	for i := range n {
		f.set([16]byte(s.Schedules[16*i:]), fired{number: s.Numbers[i], at: time.Unix(s.UsedAt[i], 0)})
	}
	return nil
}

// apply notes a firing that is stored.
func (f *firings) apply(e *journalv1.Firing, seq uint64) {
	if e != nil {
		f.set(ids.ScheduleKey(e.ScheduleId), fired{number: e.Number, seq: seq, at: e.At.AsTime()})
	}
}

// Fire decides a firing of a schedule: as Publish, but what the room has had is told by the firing's number (S6), and of the
// sender's rights only bans and mutes count. p has a firing.
func (d *Draft) Fire(p *roomv1.Publish, nextSeq uint64, now time.Time) ([]persistence.Event, []*roomv1.Outcome) {
	e, outcome := d.fire(p, nextSeq, now)
	if outcome.Refused != nil || outcome.Duplicate {
		return nil, []*roomv1.Outcome{outcome}
	}
	return []persistence.Event{e}, []*roomv1.Outcome{outcome}
}

func (d *Draft) fire(p *roomv1.Publish, nextSeq uint64, now time.Time) (persistence.Event, *roomv1.Outcome) {
	invalid := func(err error) (persistence.Event, *roomv1.Outcome) {
		return persistence.Event{}, refuse(clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, err.Error(), 0)
	}
	schedule, number := p.Firing.ScheduleId, p.Firing.Number
	if err := ids.CheckSchedule(schedule); err != nil {
		return invalid(err)
	}
	if number == 0 || len(p.Drafts) != 1 {
		return invalid(errFiring)
	}
	key := ids.ScheduleKey(schedule)
	last, known := d.fired[key]
	if !known {
		last, known = d.s.firings.find(key, now)
	}
	if known && number <= last.number {
		outcome := &roomv1.Outcome{Duplicate: true}
		if number == last.number {
			outcome.Seq = last.seq
		}
		return persistence.Event{}, outcome
	}
	m := p.Drafts[0]
	if err := ids.CheckMessageID(m.GetMessageId()); err != nil {
		return invalid(err)
	}
	if err := checkDraft(p.MemberId, m); err != nil {
		return invalid(err)
	}
	if denial := withheld(&d.rights, p.MemberId, now); denial != nil {
		return persistence.Event{}, &roomv1.Outcome{Refused: denial.Refused(now)}
	}
	if r := d.limit(m, now); r != nil {
		return persistence.Event{}, r
	}
	if !known && d.s.firings.full(len(d.fired), now) {
		return persistence.Event{}, refuse(clientv1.ErrorCode_ERROR_CODE_BUSY, "too many schedules have published in the room", busyRetryAfter)
	}
	firing := &journalv1.Firing{ScheduleId: schedule, Number: number, At: timestamppb.New(now)}
	e, err := d.post(ids.FiringKey(schedule, number), p.MemberId, m, firing, nextSeq, now)
	if err != nil {
		return invalid(errFiring)
	}
	if d.fired == nil {
		d.fired = make(map[[16]byte]fired)
	}
	d.fired[key] = fired{number: number, seq: nextSeq, at: now}
	return e, &roomv1.Outcome{Seq: nextSeq}
}
