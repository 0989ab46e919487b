package api

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"connectrpc.com/connect"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/parley-rt/parley/libs/opskit/auth"
	"github.com/parley-rt/parley/libs/persistence"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codes"
	"github.com/parley-rt/parley/services/rooms/internal/api/ask"
)

var (
	errBusy    = errors.New("too many requests are in flight")
	errNoPlace = errors.New("request has no place")
	errAnswer  = errors.New("the room answered something else than was asked")
	errUnused  = errors.New("the room was never used")
	errPanic   = errors.New("panic")
)

const (
	retryBusy        = 250 * time.Millisecond
	retryUnavailable = time.Second
	// errorDomain qualifies the reasons of ErrorInfo, which are the bare names of error codes.
	errorDomain = "parley"
)

// verdict is what a caller is told about an error.
type verdict struct {
	code connect.Code
	// reason is an error code's bare name; empty: there is none that fits.
	reason string
	// message; empty: the error's own text is fit to be shown.
	message string
	retry   time.Duration
	fields  []*errdetails.BadRequest_FieldViolation
}

// judge is the table: error → what is told. What is not in it is internal: its text is not shown.
func judge(err error) verdict {
	var (
		invalid *invalidError
		refused *ask.RefusedError
		denied  *auth.RefusedError
	)
	switch {
	case errors.As(err, &denied):
		return verdict{code: connect.CodeUnauthenticated, reason: nameOf(clientv1.ErrorCode_ERROR_CODE_UNAUTHENTICATED),
			message: "a valid bearer token with the scope " + auth.ScopeAdmin + ", or with the capability moderate in rooms, is needed"}
	case errors.Is(err, auth.ErrKeys):
		return verdict{code: connect.CodeUnavailable, reason: nameOf(clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE), retry: retryUnavailable,
			message: "whether the token is good cannot be told now; nothing was changed"}
	case errors.Is(err, errForbidden):
		return verdict{code: connect.CodePermissionDenied, reason: nameOf(clientv1.ErrorCode_ERROR_CODE_FORBIDDEN)}
	case errors.As(err, &invalid):
		return verdict{code: connect.CodeInvalidArgument, reason: invalid.reason(), fields: invalid.fields}
	case errors.Is(err, errUnused):
		return verdict{code: connect.CodeNotFound, reason: "ROOM_NOT_FOUND"}
	case errors.Is(err, errBusy):
		return verdict{code: connect.CodeResourceExhausted, reason: nameOf(clientv1.ErrorCode_ERROR_CODE_BUSY), retry: retryBusy}
	case errors.Is(err, context.Canceled):
		return verdict{code: connect.CodeCanceled, message: "the caller went away; a change may have been carried out"}
	case errors.Is(err, ask.ErrUnanswered):
		return verdict{code: connect.CodeDeadlineExceeded, reason: nameOf(clientv1.ErrorCode_ERROR_CODE_UNKNOWN_OUTCOME), retry: retryUnavailable,
			message: "the room did not answer in time; a change may have been carried out: repeat it with the same operation_id or message_id"}
	case errors.Is(err, persistence.ErrUnknown):
		return verdict{code: connect.CodeDeadlineExceeded, reason: nameOf(clientv1.ErrorCode_ERROR_CODE_UNKNOWN_OUTCOME), retry: retryUnavailable,
			message: "the journal did not say in time whether it has the change: repeat it"}
	case errors.Is(err, ask.ErrUnreachable), errors.Is(err, persistence.ErrUnavailable), errors.Is(err, persistence.ErrOverloaded),
		errors.Is(err, persistence.ErrClosed), errors.Is(err, context.DeadlineExceeded):
		return verdict{code: connect.CodeUnavailable, reason: nameOf(clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE), retry: retryUnavailable,
			message: "the room cannot be reached now; nothing was changed"}
	case errors.As(err, &refused):
		return refusal(refused)
	default:
		return verdict{code: connect.CodeInternal, reason: nameOf(clientv1.ErrorCode_ERROR_CODE_INTERNAL)}
	}
}

// refusal is the part of the table for what rooms say themselves.
func refusal(r *ask.RefusedError) verdict {
	v := verdict{code: connect.CodeInternal, reason: nameOf(r.Code), message: r.Message, retry: r.RetryAfter}
	switch r.Code {
	case clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, clientv1.ErrorCode_ERROR_CODE_INVALID_ROOM:
		v.code = connect.CodeInvalidArgument
	case clientv1.ErrorCode_ERROR_CODE_TOO_LARGE, clientv1.ErrorCode_ERROR_CODE_NOT_JOINED:
		v.code = connect.CodeFailedPrecondition
	case clientv1.ErrorCode_ERROR_CODE_FORBIDDEN, clientv1.ErrorCode_ERROR_CODE_MUTED, clientv1.ErrorCode_ERROR_CODE_BANNED:
		v.code = connect.CodePermissionDenied
	case clientv1.ErrorCode_ERROR_CODE_RATE_LIMITED, clientv1.ErrorCode_ERROR_CODE_BUSY:
		v.code, v.retry = connect.CodeResourceExhausted, max(v.retry, retryBusy)
	case clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE:
		v.code, v.retry = connect.CodeUnavailable, max(v.retry, retryUnavailable)
	case clientv1.ErrorCode_ERROR_CODE_UNKNOWN_OUTCOME:
		v.code, v.retry = connect.CodeDeadlineExceeded, max(v.retry, retryUnavailable)
	default:
		v.message = "" // it is not what a room says to an administrator
	}
	return v
}

func nameOf(code clientv1.ErrorCode) string { return codes.ErrorName(code) }

// errorOf makes what a caller is told. An error that is Connect's own already passes as it is.
func errorOf(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var told *connect.Error
	if errors.As(err, &told) {
		return err
	}
	v := judge(err)
	text := v.message
	switch {
	case text != "":
	case v.code == connect.CodeInternal:
		text = internalText(ctx)
	default:
		text = err.Error()
	}
	e := connect.NewError(v.code, errors.New(text))
	if v.reason != "" {
		addDetail(e, &errdetails.ErrorInfo{Reason: v.reason, Domain: errorDomain})
	}
	if len(v.fields) > 0 {
		addDetail(e, &errdetails.BadRequest{FieldViolations: v.fields})
	}
	if v.retry > 0 {
		addDetail(e, &errdetails.RetryInfo{RetryDelay: durationpb.New(v.retry)})
		e.Meta().Set("Retry-After", strconv.Itoa(int(math.Ceil(v.retry.Seconds()))))
	}
	if v.code == connect.CodeUnauthenticated {
		e.Meta().Set("WWW-Authenticate", "Bearer")
	}
	return e
}

func internalText(ctx context.Context) string {
	if span := trace.SpanContextFromContext(ctx); span.HasTraceID() {
		return "internal error, trace " + span.TraceID().String()
	}
	return "internal error"
}

func addDetail(e *connect.Error, m proto.Message) {
	if d, err := connect.NewErrorDetail(m); err == nil {
		e.AddDetail(d)
	}
}

// unexpected says that a room's answer is not of the kind that was asked for.
func unexpected(answer any) error { return fmt.Errorf("%w: %T", errAnswer, answer) }
