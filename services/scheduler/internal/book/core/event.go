package core

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"

	"github.com/parley-rt/parley/libs/persistence"
)

// Manifests of what the streams store. They are part of the journal: never change one.
const (
	ManifestEvent    = "parley.journal.v1.ScheduleEvent"
	ManifestSnapshot = "parley.journal.v1.ScheduleShardSnapshot"
)

// encode makes an event to append. Its id only has to be unique.
func encode(e *journalv1.ScheduleEvent) (persistence.Event, error) {
	payload, err := proto.Marshal(e)
	if err != nil {
		return persistence.Event{}, fmt.Errorf("encode event of schedule %s: %w", e.ScheduleId, err)
	}
	var id [16]byte
	binary.LittleEndian.PutUint64(id[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(id[8:], rand.Uint64())
	return persistence.Event{MessageID: id, Manifest: ManifestEvent, Codec: persistence.CodecProto, Payload: payload}, nil
}

// Limits of what a record keeps.
const (
	historyKept    = 5
	failuresKept   = 8
	operationsKept = 4
	// askedKept is how many firings may wait to be started.
	askedKept = 8
	// EndedKept is how long a schedule that was deleted or has ended stays in the book: a day longer than rooms remember its
	// numbers.
	EndedKept = 8 * 24 * time.Hour
)

// enact enters an event into a schedule's record. It is the one place that says what events mean, but for the first and the last
// of a record. An error means that the event cannot be of this record.
func enact(r *journalv1.ScheduleRecord, e *journalv1.ScheduleEvent) error {
	switch k := e.Kind.(type) {
	case *journalv1.ScheduleEvent_Updated:
		if r.Open != nil && r.Open.Spec == nil {
			r.Open.Spec = r.Spec // what is being sent does not change
		}
		r.Spec, r.NextDue, r.EndedAt = k.Updated.Spec, k.Updated.NextDue, nil
	case *journalv1.ScheduleEvent_Paused:
		r.Paused = true
	case *journalv1.ScheduleEvent_Resumed:
		r.Paused, r.NextDue = false, k.Resumed.NextDue
	case *journalv1.ScheduleEvent_Deleted:
		r.Deleted, r.EndedAt, r.NextDue = true, e.At, 0
		r.Open, r.Asked, r.Failed = nil, nil, nil
	case *journalv1.ScheduleEvent_FiringAsked:
		r.Asked = append(r.Asked, &journalv1.AskedFiring{Asked: k.FiringAsked, At: e.At})
		r.Operations = pushed(r.Operations, k.FiringAsked.OperationId, operationsKept, k.FiringAsked.OperationId != "")
		if n := k.FiringAsked.Replays; n != 0 {
			dropFailure(r, n)
		}
		r.EndedAt = nil
	case *journalv1.ScheduleEvent_FiringStarted:
		return started(r, k.FiringStarted, e.At)
	case *journalv1.ScheduleEvent_FiringEnded:
		return ended(r, k.FiringEnded, e.At)
	case *journalv1.ScheduleEvent_FiringsMissed:
		r.Missed += k.FiringsMissed.Count
		r.NextDue = k.FiringsMissed.NextDue
	case *journalv1.ScheduleEvent_FailureDropped:
		dropFailure(r, k.FailureDropped.Number)
	default:
		return fmt.Errorf("%w: event of kind %T", ErrEvent, e.Kind)
	}
	if r.EndedAt == nil && r.NextDue == 0 && r.Open == nil && len(r.Asked) == 0 {
		r.EndedAt = e.At
	}
	return nil
}

func started(r *journalv1.ScheduleRecord, f *journalv1.FiringStarted, at *timestamppb.Timestamp) error {
	switch {
	case r.Open != nil || f.Number != r.Number+1:
		return fmt.Errorf("%w: firing %d follows %d, which has ended: %v", ErrEvent, f.Number, r.Number, r.Open == nil)
	case f.Cause == journalv1.Cause_CAUSE_DUE:
		r.Fired++
		r.NextDue = f.NextDue
	case len(r.Asked) == 0:
		return fmt.Errorf("%w: firing %d that nobody asked for", ErrEvent, f.Number)
	default:
		r.Asked = r.Asked[1:]
	}
	r.Number = f.Number
	r.Open = &journalv1.OpenFiring{Started: f, At: at}
	return nil
}

func ended(r *journalv1.ScheduleRecord, f *journalv1.FiringEnded, at *timestamppb.Timestamp) error {
	if r.Open == nil || f.Number != r.Number {
		return fmt.Errorf("%w: end of firing %d, which is not open", ErrEvent, f.Number)
	}
	was := r.Open.Started
	r.Open = nil
	r.History = pushed(r.History, &journalv1.PastFiring{
		Number: f.Number, Cause: was.Cause, Due: was.Due.GetSeconds(), At: at.GetSeconds(), Seq: f.Seq, Failed: f.Reason != "",
	}, historyKept, true)
	r.Failed = pushed(r.Failed, &journalv1.FailedFiring{
		Number: f.Number, Due: was.Due.GetSeconds(), At: at.GetSeconds(), Code: f.Code, Reason: f.Reason, Unknown: f.Unknown,
	}, failuresKept, f.Reason != "")
	if r.NextDue == 0 && len(r.Asked) == 0 {
		r.EndedAt = at
	}
	return nil
}

// pushed appends v and keeps the last ones, or does nothing.
func pushed[V any](list []V, v V, keep int, really bool) []V {
	if !really {
		return list
	}
	if len(list) >= keep {
		list = append(list[:0:0], list[len(list)-keep+1:]...)
	}
	return append(list, v)
}

func dropFailure(r *journalv1.ScheduleRecord, number uint64) {
	for i, f := range r.Failed {
		if f.Number == number {
			r.Failed = append(r.Failed[:i:i], r.Failed[i+1:]...)
			return
		}
	}
}

// wake is when something is to be done about a schedule, in milliseconds of Unix time; 0: nothing.
func wake(r *journalv1.ScheduleRecord) int64 {
	switch {
	case r.EndedAt != nil:
		return r.EndedAt.AsTime().Add(EndedKept).UnixMilli()
	case r.Open != nil:
		return 0
	case len(r.Asked) > 0:
		return r.Asked[0].At.AsTime().UnixMilli()
	case r.Paused || r.NextDue == 0:
		return 0
	default:
		return r.NextDue*1000 + jitter(r.ScheduleId, r.Spec, r.NextDue).Milliseconds()
	}
}
