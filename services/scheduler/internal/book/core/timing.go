package core

import (
	"fmt"
	"hash/fnv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"

	"github.com/parley-rt/parley/services/scheduler/internal/cron"
)

// timing tells when a spec is due. Times are seconds of Unix time; 0: never.
type timing struct {
	at         int64
	expression cron.Expression
	zone       *time.Location
	anchor     time.Time
	from, to   time.Time // to: zero without an end
}

// timingOf reads a spec that was checked. created is where @every begins unless the spec says.
func timingOf(s *journalv1.ScheduleSpec, created time.Time, zones *Zones) (timing, error) {
	if at := s.GetAt(); at != nil {
		return timing{at: ceil(at)}, nil
	}
	expression, err := cron.Parse(s.GetCron())
	if err != nil {
		return timing{}, err
	}
	zone, err := zones.Get(s.TimeZone)
	if err != nil {
		return timing{}, fmt.Errorf("time zone: %w", err)
	}
	t := timing{expression: expression, zone: zone, anchor: created}
	if s.StartsAt != nil {
		t.from = s.StartsAt.AsTime()
		t.anchor = t.from
	}
	if s.EndsAt != nil {
		t.to = s.EndsAt.AsTime()
	}
	return t, nil
}

func ceil(t *timestamppb.Timestamp) int64 {
	if t.Nanos > 0 {
		return t.Seconds + 1
	}
	return t.Seconds
}

// first returns when the spec is due first, asked at now: what it names one time for is due then even if that has passed.
func (t timing) first(now time.Time) int64 {
	if t.at != 0 {
		return t.at
	}
	return t.after(now)
}

// after returns when it is due next after a time.
func (t timing) after(at time.Time) int64 {
	if t.at != 0 {
		return 0
	}
	if !t.from.IsZero() && at.Before(t.from) {
		// What is due at the very beginning is due; the anchor of @every is no firing.
		at = t.from.Add(-time.Nanosecond)
		if t.expression.Every() > 0 {
			return t.bounded(t.from)
		}
	}
	next, ok := t.expression.Next(at, t.zone, t.anchor)
	if !ok {
		return 0
	}
	return t.bounded(next)
}

func (t timing) bounded(next time.Time) int64 {
	due := next.Unix()
	if next.Nanosecond() > 0 {
		due++
	}
	if !t.to.IsZero() && time.Unix(due, 0).After(t.to) {
		return 0
	}
	return due
}

// jitter is how long the firing that is due then is put off: the same whoever asks.
func jitter(id string, s *journalv1.ScheduleSpec, due int64) time.Duration {
	most := s.GetJitter().AsDuration().Milliseconds()
	if most <= 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s %d", id, due)
	return time.Duration(h.Sum64()%uint64(most+1)) * time.Millisecond
}

// Upcoming lists when a schedule is due next, at most so many times, without jitter.
func Upcoming(r *journalv1.ScheduleRecord, most int, zones *Zones) ([]time.Time, error) {
	if r.NextDue == 0 || most <= 0 {
		return nil, nil
	}
	t, err := timingOf(r.Spec, r.CreatedAt.AsTime(), zones)
	if err != nil {
		return nil, err
	}
	var times []time.Time
	for due := r.NextDue; due != 0 && len(times) < most && !spent(r.Spec, r.Fired+uint64(len(times))); due = t.after(time.Unix(due, 0)) {
		times = append(times, time.Unix(due, 0).UTC())
	}
	return times, nil
}
