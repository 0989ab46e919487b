package book

import (
	"cmp"
	"errors"
	"slices"

	"github.com/tochemey/goakt/v4/actor"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
	schedulerv1 "github.com/parley-rt/parley/libs/protocol/scheduler/v1"
	"github.com/parley-rt/parley/services/scheduler/internal/book/core"
)

// Request is a call to the book. Answer is called at most once, on some goroutine, and must not block; not at all when the book
// ends before it has answered.
type Request struct {
	Call   *schedulerv1.Call
	Answer func(*schedulerv1.Answer)
}

const (
	// listMost and listBytes bound a page of a list.
	listMost  = 1000
	listBytes = 1 << 20
)

func (b *Book) request(rctx *actor.ReceiveContext, m *Request) {
	call := m.Call
	switch k := call.Command.(type) {
	case *schedulerv1.Call_Get:
		if r := b.shardOf(call.ScheduleId).stream.State().Get(call.ScheduleId); r != nil {
			m.Answer(&schedulerv1.Answer{Records: []*journalv1.ScheduleRecord{proto.CloneOf(r)}})
			return
		}
		m.Answer(&schedulerv1.Answer{Problem: schedulerv1.Problem_PROBLEM_NOT_FOUND})
		return
	case *schedulerv1.Call_List:
		m.Answer(b.list(k.List))
		return
	}
	command := commandOf(call)
	if command == nil {
		m.Answer(&schedulerv1.Answer{Problem: schedulerv1.Problem_PROBLEM_UNAVAILABLE}) // a later version's
		return
	}
	b.submit(rctx, b.shardOf(call.ScheduleId), &order{command: command, answer: func(reply core.Reply, err error) {
		m.Answer(answerOf(reply, err))
	}}, proto.Size(call))
}

func commandOf(call *schedulerv1.Call) core.Command {
	id, by := call.ScheduleId, call.Actor
	switch k := call.Command.(type) {
	case *schedulerv1.Call_Create:
		return &core.Create{ID: id, Actor: by, Spec: k.Create.Spec, Request: k.Create.Request}
	case *schedulerv1.Call_Update:
		return &core.Update{ID: id, Actor: by, Spec: k.Update.Spec}
	case *schedulerv1.Call_Pause:
		return &core.Pause{ID: id, Actor: by}
	case *schedulerv1.Call_Resume:
		return &core.Resume{ID: id, Actor: by}
	case *schedulerv1.Call_Delete:
		return &core.Delete{ID: id, Actor: by}
	case *schedulerv1.Call_Trigger:
		return &core.Trigger{ID: id, Actor: by, OperationID: k.Trigger.OperationId}
	case *schedulerv1.Call_Replay:
		return &core.Replay{ID: id, Actor: by, OperationID: k.Replay.OperationId, Number: k.Replay.Number}
	case *schedulerv1.Call_Drop:
		return &core.Drop{ID: id, Actor: by, Number: k.Drop.Number}
	default:
		return nil
	}
}

// problems is the table of refusals.
var problems = []struct {
	err     error
	problem schedulerv1.Problem
}{
	{core.ErrNotFound, schedulerv1.Problem_PROBLEM_NOT_FOUND},
	{core.ErrExists, schedulerv1.Problem_PROBLEM_EXISTS},
	{core.ErrDeleted, schedulerv1.Problem_PROBLEM_DELETED},
	{core.ErrEnded, schedulerv1.Problem_PROBLEM_ENDED},
	{core.ErrFull, schedulerv1.Problem_PROBLEM_FULL},
	{core.ErrAsked, schedulerv1.Problem_PROBLEM_ASKED},
	{core.ErrFailure, schedulerv1.Problem_PROBLEM_NO_FAILURE},
	{core.ErrNever, schedulerv1.Problem_PROBLEM_NEVER},
	{persistence.ErrUnknown, schedulerv1.Problem_PROBLEM_UNKNOWN},
	{persistence.ErrFenced, schedulerv1.Problem_PROBLEM_MOVED},
	{actorkit.ErrStopped, schedulerv1.Problem_PROBLEM_MOVED},
}

func answerOf(reply core.Reply, err error) *schedulerv1.Answer {
	if err = errors.Join(err, reply.Err); err != nil {
		for _, p := range problems {
			if errors.Is(err, p.err) {
				return &schedulerv1.Answer{Problem: p.problem}
			}
		}
		return &schedulerv1.Answer{Problem: schedulerv1.Problem_PROBLEM_UNAVAILABLE}
	}
	answer := &schedulerv1.Answer{Duplicate: reply.Duplicate}
	if reply.Record != nil {
		answer.Records = []*journalv1.ScheduleRecord{reply.Record}
	}
	return answer
}

// list reads a page of schedules, ascending by id.
func (b *Book) list(l *schedulerv1.List) *schedulerv1.Answer {
	limit := min(max(int(l.Limit), 1), listMost)
	var found []*journalv1.ScheduleRecord
	byID := func(a, b *journalv1.ScheduleRecord) int { return cmp.Compare(a.ScheduleId, b.ScheduleId) }
	for _, s := range b.shards {
		s.stream.State().All(func(r *journalv1.ScheduleRecord) bool {
			if r.ScheduleId <= l.After || l.RoomId != "" && r.Spec.RoomId != l.RoomId || l.Failed && len(r.Failed) == 0 {
				return true
			}
			found = append(found, r)
			if len(found) >= 4*limit+1024 { // what is kept stays small however many there are
				slices.SortFunc(found, byID)
				clear(found[limit+1:])
				found = found[:limit+1]
			}
			return true
		})
	}
	slices.SortFunc(found, byID)
	answer := new(schedulerv1.Answer)
	bytes := 0
	for i, r := range found {
		bytes += proto.Size(r)
		if i == limit || i > 0 && bytes > listBytes {
			answer.Next = found[i-1].ScheduleId
			break
		}
		answer.Records = append(answer.Records, proto.CloneOf(r))
	}
	return answer
}
