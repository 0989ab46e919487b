package api

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/parley-rt/parley/libs/opskit/adminapi"
	schedulerv1 "github.com/parley-rt/parley/libs/protocol/scheduler/v1"
	"github.com/parley-rt/parley/services/scheduler/internal/book/core"
	"github.com/parley-rt/parley/services/scheduler/internal/desk"
)

var errForbidden = errors.New("schedules are for administrators")

// problemError is what the book says is wrong.
type problemError struct{ problem schedulerv1.Problem }

func (e *problemError) Error() string { return fmt.Sprint("the schedule book: ", e.problem) }

// judge is the table: error → what is told. What is not in it is internal: its text is not shown.
func judge(err error) adminapi.Verdict {
	if v, ok := adminapi.Common(err); ok {
		return v
	}
	var (
		field   *core.FieldError
		problem *problemError
	)
	switch {
	case errors.Is(err, errForbidden):
		return adminapi.Verdict{Code: connect.CodePermissionDenied, Reason: "FORBIDDEN"}
	case errors.As(err, &field):
		return adminapi.Verdict{Code: connect.CodeInvalidArgument, Reason: "INVALID_ARGUMENT", Message: field.Error(),
			Fields: []*errdetails.BadRequest_FieldViolation{{Field: field.Field, Description: field.Problem}}}
	case errors.Is(err, desk.ErrUnanswered):
		return adminapi.Verdict{Code: connect.CodeDeadlineExceeded, Reason: "UNKNOWN_OUTCOME", Retry: adminapi.RetryUnavailable,
			Message: "the schedule book did not answer in time; a change may have been carried out: repeat it with the same key"}
	case errors.Is(err, desk.ErrNobody), errors.Is(err, context.DeadlineExceeded):
		return adminapi.Verdict{Code: connect.CodeUnavailable, Reason: "UNAVAILABLE", Retry: adminapi.RetryUnavailable,
			Message: "the schedule book cannot be reached now; nothing was changed"}
	case errors.As(err, &problem):
		return told(problem.problem)
	default:
		return adminapi.Internal()
	}
}

// told is the part of the table for what the book says.
func told(p schedulerv1.Problem) adminapi.Verdict {
	switch p {
	case schedulerv1.Problem_PROBLEM_NOT_FOUND:
		return adminapi.Verdict{Code: connect.CodeNotFound, Reason: "SCHEDULE_NOT_FOUND", Message: core.ErrNotFound.Error()}
	case schedulerv1.Problem_PROBLEM_EXISTS:
		return adminapi.Verdict{Code: connect.CodeAlreadyExists, Reason: "SCHEDULE_EXISTS", Message: "idempotency_key: it was used for another schedule"}
	case schedulerv1.Problem_PROBLEM_DELETED:
		return adminapi.Verdict{Code: connect.CodeNotFound, Reason: "SCHEDULE_DELETED", Message: core.ErrDeleted.Error()}
	case schedulerv1.Problem_PROBLEM_ENDED:
		return adminapi.Verdict{Code: connect.CodeFailedPrecondition, Reason: "SCHEDULE_ENDED", Message: core.ErrEnded.Error()}
	case schedulerv1.Problem_PROBLEM_FULL:
		return adminapi.Verdict{Code: connect.CodeResourceExhausted, Reason: "SCHEDULES_FULL", Message: core.ErrFull.Error()}
	case schedulerv1.Problem_PROBLEM_ASKED:
		return adminapi.Verdict{Code: connect.CodeResourceExhausted, Reason: "BUSY", Retry: adminapi.RetryUnavailable, Message: core.ErrAsked.Error()}
	case schedulerv1.Problem_PROBLEM_NO_FAILURE:
		return adminapi.Verdict{Code: connect.CodeNotFound, Reason: "FIRING_NOT_FOUND", Message: core.ErrFailure.Error()}
	case schedulerv1.Problem_PROBLEM_NEVER:
		return adminapi.Verdict{Code: connect.CodeInvalidArgument, Reason: "INVALID_ARGUMENT", Message: "timing: " + core.ErrNever.Error(),
			Fields: []*errdetails.BadRequest_FieldViolation{{Field: "timing", Description: core.ErrNever.Error()}}}
	case schedulerv1.Problem_PROBLEM_UNKNOWN:
		return adminapi.Verdict{Code: connect.CodeDeadlineExceeded, Reason: "UNKNOWN_OUTCOME", Retry: adminapi.RetryUnavailable,
			Message: "the journal did not say in time whether it has the change: repeat it with the same key"}
	default:
		return adminapi.Internal()
	}
}
