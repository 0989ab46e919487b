package api

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/parley-rt/parley/libs/protocol/admin/v1"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codes"
	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
	"github.com/parley-rt/parley/services/scheduler/internal/book/core"
)

// specOf is a spec as it is stored: a delay begins now.
func specOf(s *adminv1.ScheduleSpec, now time.Time) (*journalv1.ScheduleSpec, error) {
	if s == nil {
		return nil, &core.FieldError{Field: "spec", Problem: "it is missing"}
	}
	spec := &journalv1.ScheduleSpec{
		RoomId: s.RoomId, Content: s.Content, Sender: s.Sender, TimeZone: s.TimeZone, StartsAt: s.StartsAt, EndsAt: s.EndsAt,
		MaxFirings: s.MaxFirings, Jitter: s.Jitter, Misfire: journalv1.Misfire(s.Misfire), MisfireCap: s.MisfireCap, RetryFor: s.RetryFor,
	}
	switch t := s.Timing.(type) {
	case *adminv1.ScheduleSpec_At:
		spec.Timing = &journalv1.ScheduleSpec_At{At: t.At}
	case *adminv1.ScheduleSpec_Cron:
		spec.Timing = &journalv1.ScheduleSpec_Cron{Cron: t.Cron}
	case *adminv1.ScheduleSpec_After:
		if t.After.CheckValid() != nil || t.After.AsDuration() < 0 || t.After.AsDuration() > maxAfter {
			return nil, &core.FieldError{Field: "after", Problem: "it must be between 0 and 10 years"}
		}
		spec.Timing = &journalv1.ScheduleSpec_At{At: timestamppb.New(now.Add(t.After.AsDuration()))}
	}
	return spec, nil
}

const maxAfter = 10 * 366 * 24 * time.Hour

func specOut(s *journalv1.ScheduleSpec) *adminv1.ScheduleSpec {
	spec := &adminv1.ScheduleSpec{
		RoomId: s.RoomId, Content: s.Content, Sender: s.Sender, TimeZone: s.TimeZone, StartsAt: s.StartsAt, EndsAt: s.EndsAt,
		MaxFirings: s.MaxFirings, Jitter: s.Jitter, Misfire: adminv1.Misfire(s.Misfire), MisfireCap: s.MisfireCap, RetryFor: s.RetryFor,
	}
	switch t := s.Timing.(type) {
	case *journalv1.ScheduleSpec_At:
		spec.Timing = &adminv1.ScheduleSpec_At{At: t.At}
	case *journalv1.ScheduleSpec_Cron:
		spec.Timing = &adminv1.ScheduleSpec_Cron{Cron: t.Cron}
	}
	return spec
}

// scheduleOut is a record as it is shown, with so many of the next times.
func (s *schedules) scheduleOut(r *journalv1.ScheduleRecord, upcoming int) (*adminv1.Schedule, error) {
	out := &adminv1.Schedule{
		ScheduleId: r.ScheduleId, Spec: specOut(r.Spec), CreatedAt: r.CreatedAt, EndedAt: r.EndedAt,
		Fired: r.Fired, Missed: r.Missed, Waiting: uint32(len(r.Asked)),
	}
	switch {
	case r.Deleted:
		out.State = adminv1.ScheduleState_SCHEDULE_STATE_DELETED
	case r.EndedAt != nil:
		out.State = adminv1.ScheduleState_SCHEDULE_STATE_ENDED
	case r.Paused:
		out.State = adminv1.ScheduleState_SCHEDULE_STATE_PAUSED
	default:
		out.State = adminv1.ScheduleState_SCHEDULE_STATE_ACTIVE
	}
	if !r.Paused {
		times, err := core.Upcoming(r, upcoming, s.zones)
		if err != nil {
			return nil, err
		}
		for _, at := range times {
			out.Upcoming = append(out.Upcoming, timestamppb.New(at))
		}
	}
	if o := r.Open; o != nil {
		out.Open = &adminv1.Firing{
			Number: o.Started.Number, State: adminv1.FiringState_FIRING_STATE_OPEN, Cause: adminv1.FiringCause(o.Started.Cause), Due: o.Started.Due, At: o.At,
		}
	}
	for _, h := range r.History {
		f := &adminv1.Firing{
			Number: h.Number, State: adminv1.FiringState_FIRING_STATE_DONE, Cause: adminv1.FiringCause(h.Cause), Due: unix(h.Due), At: unix(h.At), Seq: h.Seq,
		}
		if h.Failed {
			f.State = adminv1.FiringState_FIRING_STATE_FAILED
		}
		out.History = append(out.History, f)
	}
	for _, h := range r.Failed {
		f := &adminv1.Firing{
			Number: h.Number, State: adminv1.FiringState_FIRING_STATE_FAILED, Due: unix(h.Due), At: unix(h.At), Reason: h.Reason, UnknownOutcome: h.Unknown,
		}
		if h.Code != 0 {
			f.Code = codes.ErrorName(clientv1.ErrorCode(h.Code))
		}
		out.Failed = append(out.Failed, f)
	}
	return out, nil
}

func unix(seconds int64) *timestamppb.Timestamp { return &timestamppb.Timestamp{Seconds: seconds} }
