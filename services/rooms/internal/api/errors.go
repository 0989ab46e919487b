package api

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"github.com/parley-rt/parley/libs/actorkit/ask"
	"github.com/parley-rt/parley/libs/opskit/adminapi"
	"github.com/parley-rt/parley/libs/persistence"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codes"
)

var (
	errAnswer = errors.New("the room answered something else than was asked")
	errUnused = errors.New("the room was never used")
)

// judge is the table: error → what is told. What is not in it is internal: its text is not shown.
func judge(err error) adminapi.Verdict {
	var (
		invalid *invalidError
		refused *ask.RefusedError
	)
	if v, ok := adminapi.Common(err); ok {
		return v
	}
	switch {
	case errors.Is(err, errForbidden):
		return adminapi.Verdict{Code: connect.CodePermissionDenied, Reason: nameOf(clientv1.ErrorCode_ERROR_CODE_FORBIDDEN)}
	case errors.As(err, &invalid):
		return adminapi.Verdict{Code: connect.CodeInvalidArgument, Reason: invalid.reason(), Fields: invalid.fields}
	case errors.Is(err, errUnused):
		return adminapi.Verdict{Code: connect.CodeNotFound, Reason: "ROOM_NOT_FOUND"}
	case errors.Is(err, ask.ErrUnanswered):
		return adminapi.Verdict{Code: connect.CodeDeadlineExceeded, Reason: nameOf(clientv1.ErrorCode_ERROR_CODE_UNKNOWN_OUTCOME), Retry: adminapi.RetryUnavailable,
			Message: "the room did not answer in time; a change may have been carried out: repeat it with the same operation_id or message_id"}
	case errors.Is(err, persistence.ErrUnknown):
		return adminapi.Verdict{Code: connect.CodeDeadlineExceeded, Reason: nameOf(clientv1.ErrorCode_ERROR_CODE_UNKNOWN_OUTCOME), Retry: adminapi.RetryUnavailable,
			Message: "the journal did not say in time whether it has the change: repeat it"}
	case errors.Is(err, ask.ErrUnreachable), errors.Is(err, persistence.ErrUnavailable), errors.Is(err, persistence.ErrOverloaded),
		errors.Is(err, persistence.ErrClosed), errors.Is(err, context.DeadlineExceeded):
		return adminapi.Verdict{Code: connect.CodeUnavailable, Reason: nameOf(clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE), Retry: adminapi.RetryUnavailable,
			Message: "the room cannot be reached now; nothing was changed"}
	case errors.As(err, &refused):
		return refusal(refused)
	default:
		return adminapi.Internal()
	}
}

// refusal is the part of the table for what rooms say themselves.
func refusal(r *ask.RefusedError) adminapi.Verdict {
	v := adminapi.Verdict{Code: connect.CodeInternal, Reason: nameOf(r.Code), Message: r.Message, Retry: r.RetryAfter}
	switch r.Code {
	case clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, clientv1.ErrorCode_ERROR_CODE_INVALID_ROOM:
		v.Code = connect.CodeInvalidArgument
	case clientv1.ErrorCode_ERROR_CODE_TOO_LARGE, clientv1.ErrorCode_ERROR_CODE_NOT_JOINED:
		v.Code = connect.CodeFailedPrecondition
	case clientv1.ErrorCode_ERROR_CODE_FORBIDDEN, clientv1.ErrorCode_ERROR_CODE_MUTED, clientv1.ErrorCode_ERROR_CODE_BANNED:
		v.Code = connect.CodePermissionDenied
	case clientv1.ErrorCode_ERROR_CODE_RATE_LIMITED, clientv1.ErrorCode_ERROR_CODE_BUSY:
		v.Code, v.Retry = connect.CodeResourceExhausted, max(v.Retry, adminapi.RetryBusy)
	case clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE:
		v.Code, v.Retry = connect.CodeUnavailable, max(v.Retry, adminapi.RetryUnavailable)
	case clientv1.ErrorCode_ERROR_CODE_UNKNOWN_OUTCOME:
		v.Code, v.Retry = connect.CodeDeadlineExceeded, max(v.Retry, adminapi.RetryUnavailable)
	default:
		v.Message = "" // it is not what a room says to an administrator
	}
	return v
}

func nameOf(code clientv1.ErrorCode) string { return codes.ErrorName(code) }

// unexpected says that a room's answer is not of the kind that was asked for.
func unexpected(answer any) error { return fmt.Errorf("%w: %T", errAnswer, answer) }
