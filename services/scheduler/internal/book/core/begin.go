package core

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
)

const (
	// Grace is how late a firing may be started without counting as missed.
	Grace = 30 * time.Second
	// searchMost bounds how many missed firings are counted one by one.
	searchMost = 100_000
)

// begin does what is due.
func (d *Draft) begin(c *Begin) Reply {
	var reply Reply
	found, more := d.s.queue.due(d.now.UnixMilli(), c.Limit)
	reply.More = more
	for _, e := range found {
		r := d.get(e.record.ScheduleId)
		if r == nil {
			continue
		}
		// What commands before this one in the batch have left.
		if at := wake(r); at == 0 || at > d.now.UnixMilli() {
			continue
		}
		if r.EndedAt != nil {
			d.add(r, "", &journalv1.ScheduleEvent{Kind: &journalv1.ScheduleEvent_Forgotten{Forgotten: &journalv1.ScheduleForgotten{}}})
			d.touched[r.ScheduleId] = nil
			continue
		}
		missed, err := d.start(r)
		if err != nil {
			// Its zone is not known to this process: another may know it.
			reply.Stuck++
			reply.Problem = err
			continue
		}
		reply.Missed += missed
		if r.Open != nil {
			reply.Started = append(reply.Started, startedOf(r))
		}
	}
	return reply
}

// start starts the next firing of a schedule, and leaves out before it what its policy says.
func (d *Draft) start(r *journalv1.ScheduleRecord) (missed uint64, err error) {
	number := r.Number + 1
	if len(r.Asked) > 0 {
		asked := r.Asked[0]
		d.open(r, &journalv1.FiringStarted{Number: number, Cause: asked.Asked.Cause, Due: asked.At})
		return 0, nil
	}
	t, err := timingOf(r.Spec, r.CreatedAt.AsTime(), d.s.zones)
	if err != nil {
		return 0, err
	}
	due, skipped := d.choose(r, t)
	if skipped > 0 {
		d.add(r, "", &journalv1.ScheduleEvent{Kind: &journalv1.ScheduleEvent_FiringsMissed{FiringsMissed: &journalv1.FiringsMissed{Count: skipped, NextDue: due}}})
	}
	if due == 0 || due*1000+jitter(r.ScheduleId, r.Spec, due).Milliseconds() > d.now.UnixMilli() {
		return skipped, nil
	}
	next := t.after(time.Unix(due, 0))
	if spent(r.Spec, r.Fired+1) {
		next = 0
	}
	d.open(r, &journalv1.FiringStarted{
		Number: number, Cause: journalv1.Cause_CAUSE_DUE, Due: &timestamppb.Timestamp{Seconds: due}, NextDue: next,
	})
	return skipped, nil
}

func (d *Draft) open(r *journalv1.ScheduleRecord, f *journalv1.FiringStarted) {
	d.add(r, "", &journalv1.ScheduleEvent{Kind: &journalv1.ScheduleEvent_FiringStarted{FiringStarted: f}})
}

// choose tells which of the firings that are due is to be started next, and how many before it are left out. The one chosen may
// lie ahead, or be 0: none is left.
func (d *Draft) choose(r *journalv1.ScheduleRecord, t timing) (due int64, skipped uint64) {
	late := func(due int64) bool {
		at := time.Unix(due, 0).Add(jitter(r.ScheduleId, r.Spec, due))
		return d.now.Sub(at) > Grace
	}
	first := r.NextDue
	if !late(first) || r.Spec.Misfire == journalv1.Misfire_MISFIRE_ALL && t.at != 0 {
		return first, 0
	}
	if t.at != 0 {
		if r.Spec.Misfire == journalv1.Misfire_MISFIRE_SKIP && late(max(first, r.CreatedAt.GetSeconds())) {
			return 0, 1
		}
		return first, 0
	}
	// The late ones, oldest first.
	var lates []int64
	at := first
	for at != 0 && late(at) {
		if len(lates) == searchMost {
			// Nobody wants so many one by one: on with the first that is not late.
			return t.after(d.now.Add(-Grace)), uint64(len(lates))
		}
		lates = append(lates, at)
		at = t.after(time.Unix(at, 0))
	}
	keep := 0
	switch r.Spec.Misfire {
	case journalv1.Misfire_MISFIRE_SKIP:
	case journalv1.Misfire_MISFIRE_ALL:
		if keep = int(r.Spec.MisfireCap); keep == 0 {
			keep = DefaultMisfires
		}
	default:
		// Once: unless one that is not late is due now as well, which does for all.
		if at == 0 || time.Unix(at, 0).After(d.now) {
			keep = 1
		}
	}
	keep = min(keep, len(lates))
	skipped = uint64(len(lates) - keep)
	if keep > 0 {
		return lates[len(lates)-keep], skipped
	}
	return at, skipped
}
