// Package api serves administrators: parley.admin.v1.ScheduleService. What surrounds the handlers is package adminapi; the
// handlers check what they are given, turn it into calls to the schedule book, and show what the book answers.
package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/opskit/adminapi"
	adminv1 "github.com/parley-rt/parley/libs/protocol/admin/v1"
	"github.com/parley-rt/parley/libs/protocol/admin/v1/adminv1connect"
	"github.com/parley-rt/parley/libs/protocol/ids"
	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
	schedulerv1 "github.com/parley-rt/parley/libs/protocol/scheduler/v1"
	"github.com/parley-rt/parley/services/scheduler/internal/book/core"
)

// Limits of requests.
const (
	maxKey       = 128
	maxOperation = 64
	maxUpcoming  = 100
	maxPage      = 1000
	defaultPage  = 100
	// MaxRequestBytes leaves room for a content whose every byte JSON writes as \u00XX, and for the other fields.
	MaxRequestBytes = 6*core.MaxContent + 16<<10
)

// Desk takes calls to the schedule book: *desk.Desk, whose errors it has.
type Desk interface {
	Do(ctx context.Context, call *schedulerv1.Call) (*schedulerv1.Answer, error)
}

// Part is the service for a server of package adminapi.
func Part(d Desk, zones *core.Zones, now func() time.Time) adminapi.Part {
	service := &schedules{desk: d, zones: zones, now: now}
	return adminapi.Part{Judge: judge, Service: func(options ...connect.HandlerOption) (string, http.Handler) {
		return adminv1connect.NewScheduleServiceHandler(service, append(options, connect.WithInterceptors(connect.UnaryInterceptorFunc(authorize)))...)
	}}
}

// authorize lets nobody in but administrators.
func authorize(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if adminapi.CallerOf(ctx).Moderates != nil {
			return nil, errForbidden
		}
		return next(ctx, req)
	}
}

type schedules struct {
	desk  Desk
	zones *core.Zones
	now   func() time.Time
}

// do has a call about one schedule carried out and shows it as it is then.
func (s *schedules) do(ctx context.Context, id string, call *schedulerv1.Call, upcoming int) (*adminv1.Schedule, *schedulerv1.Answer, error) {
	if err := ids.CheckSchedule(id); err != nil {
		return nil, nil, &core.FieldError{Field: "schedule_id", Problem: err.Error()}
	}
	call.ScheduleId, call.Actor = id, adminapi.CallerOf(ctx).Actor
	answer, err := s.desk.Do(ctx, call)
	if err != nil {
		return nil, nil, err
	}
	if answer.Problem != 0 {
		return nil, answer, &problemError{answer.Problem}
	}
	if len(answer.Records) != 1 {
		return nil, answer, nil
	}
	out, err := s.scheduleOut(answer.Records[0], upcoming)
	return out, answer, err
}

// CreateSchedule implements the service. The id follows from the key, so that a repeat finds the schedule wherever it was made.
func (s *schedules) CreateSchedule(ctx context.Context, req *adminv1.CreateScheduleRequest) (*adminv1.CreateScheduleResponse, error) {
	spec, err := s.spec(req.GetSpec())
	if err != nil {
		return nil, err
	}
	id, err := newID(req.GetIdempotencyKey())
	if err != nil {
		return nil, err
	}
	request, err := proto.MarshalOptions{Deterministic: true}.Marshal(req.GetSpec())
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(request)
	out, answer, err := s.do(ctx, id, &schedulerv1.Call{Command: &schedulerv1.Call_Create{Create: &schedulerv1.Create{Spec: spec, Request: sum[:16]}}}, 1)
	if err != nil {
		return nil, err
	}
	return &adminv1.CreateScheduleResponse{Schedule: out, Duplicate: answer.Duplicate && req.GetIdempotencyKey() != ""}, nil
}

func (s *schedules) spec(given *adminv1.ScheduleSpec) (*journalv1.ScheduleSpec, error) {
	spec, err := specOf(given, s.now())
	if err != nil {
		return nil, err
	}
	return spec, core.Check(spec, s.zones)
}

// newID makes a schedule's id: of its key, or a random one.
func newID(key string) (string, error) {
	if key == "" {
		id := uuid.New()
		return hex.EncodeToString(id[:]), nil
	}
	if err := checkText("idempotency_key", key, maxKey); err != nil {
		return "", err
	}
	id := ids.DedupeKey("schedules", key)
	return hex.EncodeToString(id[:]), nil
}

func checkText(field, value string, most int) error {
	if len(value) > most || !utf8.ValidString(value) {
		return &core.FieldError{Field: field, Problem: "it is too long or not UTF-8"}
	}
	return nil
}

// GetSchedule implements the service.
func (s *schedules) GetSchedule(ctx context.Context, req *adminv1.GetScheduleRequest) (*adminv1.GetScheduleResponse, error) {
	if req.GetUpcoming() > maxUpcoming {
		return nil, &core.FieldError{Field: "upcoming", Problem: "at most 100 times are listed"}
	}
	out, _, err := s.do(ctx, req.GetScheduleId(), &schedulerv1.Call{Command: &schedulerv1.Call_Get{Get: &schedulerv1.Get{}}}, max(1, int(req.GetUpcoming())))
	if err != nil {
		return nil, err
	}
	return &adminv1.GetScheduleResponse{Schedule: out}, nil
}

// ListSchedules implements the service.
func (s *schedules) ListSchedules(ctx context.Context, req *adminv1.ListSchedulesRequest) (*adminv1.ListSchedulesResponse, error) {
	size := req.GetPageSize()
	switch {
	case size > maxPage:
		return nil, &core.FieldError{Field: "page_size", Problem: "a page has at most 1000 schedules"}
	case size == 0:
		size = defaultPage
	}
	if req.GetPageToken() != "" && ids.CheckSchedule(req.GetPageToken()) != nil {
		return nil, &core.FieldError{Field: "page_token", Problem: "it is not one that a list has given"}
	}
	if req.GetRoomId() != "" {
		if err := ids.CheckRoom(req.GetRoomId()); err != nil {
			return nil, &core.FieldError{Field: "room_id", Problem: err.Error()}
		}
	}
	answer, err := s.desk.Do(ctx, &schedulerv1.Call{Actor: adminapi.CallerOf(ctx).Actor, Command: &schedulerv1.Call_List{List: &schedulerv1.List{
		After: req.GetPageToken(), Limit: size, RoomId: req.GetRoomId(), Failed: req.GetFailed(),
	}}})
	if err != nil {
		return nil, err
	}
	res := &adminv1.ListSchedulesResponse{NextPageToken: answer.Next}
	for _, r := range answer.Records {
		out, err := s.scheduleOut(r, 1)
		if err != nil {
			return nil, err
		}
		res.Schedules = append(res.Schedules, out)
	}
	return res, nil
}

// UpdateSchedule implements the service.
func (s *schedules) UpdateSchedule(ctx context.Context, req *adminv1.UpdateScheduleRequest) (*adminv1.UpdateScheduleResponse, error) {
	spec, err := s.spec(req.GetSpec())
	if err != nil {
		return nil, err
	}
	out, _, err := s.do(ctx, req.GetScheduleId(), &schedulerv1.Call{Command: &schedulerv1.Call_Update{Update: &schedulerv1.Update{Spec: spec}}}, 1)
	if err != nil {
		return nil, err
	}
	return &adminv1.UpdateScheduleResponse{Schedule: out}, nil
}

// PauseSchedule implements the service.
func (s *schedules) PauseSchedule(ctx context.Context, req *adminv1.PauseScheduleRequest) (*adminv1.PauseScheduleResponse, error) {
	out, _, err := s.do(ctx, req.GetScheduleId(), &schedulerv1.Call{Command: &schedulerv1.Call_Pause{Pause: &schedulerv1.Pause{}}}, 1)
	if err != nil {
		return nil, err
	}
	return &adminv1.PauseScheduleResponse{Schedule: out}, nil
}

// ResumeSchedule implements the service.
func (s *schedules) ResumeSchedule(ctx context.Context, req *adminv1.ResumeScheduleRequest) (*adminv1.ResumeScheduleResponse, error) {
	out, _, err := s.do(ctx, req.GetScheduleId(), &schedulerv1.Call{Command: &schedulerv1.Call_Resume{Resume: &schedulerv1.Resume{}}}, 1)
	if err != nil {
		return nil, err
	}
	return &adminv1.ResumeScheduleResponse{Schedule: out}, nil
}

// DeleteSchedule implements the service. One that is deleted already is what was asked for.
func (s *schedules) DeleteSchedule(ctx context.Context, req *adminv1.DeleteScheduleRequest) (*adminv1.DeleteScheduleResponse, error) {
	_, answer, err := s.do(ctx, req.GetScheduleId(), &schedulerv1.Call{Command: &schedulerv1.Call_Delete{Delete: &schedulerv1.Delete{}}}, 0)
	if err != nil && answer.GetProblem() != schedulerv1.Problem_PROBLEM_DELETED {
		return nil, err
	}
	return &adminv1.DeleteScheduleResponse{}, nil
}

// operation checks what a request is recognised by; without, it is recognised while this node tries only.
func operation(given string) (string, error) {
	if given == "" {
		return uuid.NewString(), nil
	}
	return given, checkText("operation_id", given, maxOperation)
}

// TriggerSchedule implements the service.
func (s *schedules) TriggerSchedule(ctx context.Context, req *adminv1.TriggerScheduleRequest) (*adminv1.TriggerScheduleResponse, error) {
	op, err := operation(req.GetOperationId())
	if err != nil {
		return nil, err
	}
	out, answer, err := s.do(ctx, req.GetScheduleId(), &schedulerv1.Call{Command: &schedulerv1.Call_Trigger{Trigger: &schedulerv1.Trigger{OperationId: op}}}, 1)
	if err != nil {
		return nil, err
	}
	return &adminv1.TriggerScheduleResponse{Schedule: out, Duplicate: answer.Duplicate && req.GetOperationId() != ""}, nil
}

// ReplayFiring implements the service.
func (s *schedules) ReplayFiring(ctx context.Context, req *adminv1.ReplayFiringRequest) (*adminv1.ReplayFiringResponse, error) {
	op, err := operation(req.GetOperationId())
	if err != nil {
		return nil, err
	}
	if req.GetNumber() == 0 {
		return nil, &core.FieldError{Field: "number", Problem: "firings are numbered from 1 on"}
	}
	out, answer, err := s.do(ctx, req.GetScheduleId(), &schedulerv1.Call{Command: &schedulerv1.Call_Replay{
		Replay: &schedulerv1.Replay{Number: req.GetNumber(), OperationId: op},
	}}, 1)
	if err != nil {
		return nil, err
	}
	return &adminv1.ReplayFiringResponse{Schedule: out, Duplicate: answer.Duplicate && req.GetOperationId() != ""}, nil
}

// DropFiring implements the service.
func (s *schedules) DropFiring(ctx context.Context, req *adminv1.DropFiringRequest) (*adminv1.DropFiringResponse, error) {
	if req.GetNumber() == 0 {
		return nil, &core.FieldError{Field: "number", Problem: "firings are numbered from 1 on"}
	}
	out, _, err := s.do(ctx, req.GetScheduleId(), &schedulerv1.Call{Command: &schedulerv1.Call_Drop{Drop: &schedulerv1.Drop{Number: req.GetNumber()}}}, 1)
	if err != nil {
		return nil, err
	}
	return &adminv1.DropFiringResponse{Schedule: out}, nil
}
