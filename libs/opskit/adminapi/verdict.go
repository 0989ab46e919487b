package adminapi

import (
	"context"
	"errors"
	"math"
	"strconv"
	"time"

	"connectrpc.com/connect"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/parley-rt/parley/libs/opskit/auth"
)

var (
	// ErrBusy says that MaxInFlight requests are worked on.
	ErrBusy = errors.New("too many requests are in flight")
	// ErrPanic says that a handler panicked.
	ErrPanic   = errors.New("panic")
	errNoPlace = errors.New("request has no place")
)

// When to try again.
const (
	RetryBusy        = 250 * time.Millisecond
	RetryUnavailable = time.Second
	// errorDomain qualifies the reasons of ErrorInfo.
	errorDomain = "parley"
)

// Verdict is what a caller is told about an error.
type Verdict struct {
	Code connect.Code
	// Reason is an error code's bare name; empty: there is none that fits.
	Reason string
	// Message; empty: the error's own text is fit to be shown, unless Code is internal.
	Message string
	Retry   time.Duration
	Fields  []*errdetails.BadRequest_FieldViolation
}

// Judge tells what a caller is told about an error of a handler. One that it does not know is internal.
type Judge func(error) Verdict

// Common judges the errors that every service has; false: it is none of them.
func Common(err error) (Verdict, bool) {
	var denied *auth.RefusedError
	switch {
	case errors.As(err, &denied):
		return Verdict{Code: connect.CodeUnauthenticated, Reason: "UNAUTHENTICATED",
			Message: "a valid bearer token with the scope " + auth.ScopeAdmin + ", or with the capability moderate in rooms, is needed"}, true
	case errors.Is(err, auth.ErrKeys):
		return Verdict{Code: connect.CodeUnavailable, Reason: "UNAVAILABLE", Retry: RetryUnavailable,
			Message: "whether the token is good cannot be told now; nothing was changed"}, true
	case errors.Is(err, ErrBusy):
		return Verdict{Code: connect.CodeResourceExhausted, Reason: "BUSY", Retry: RetryBusy}, true
	case errors.Is(err, context.Canceled):
		return Verdict{Code: connect.CodeCanceled, Message: "the caller went away; a change may have been carried out"}, true
	default:
		return Verdict{}, false
	}
}

// common judges what goes wrong before there is a service.
func common(err error) Verdict {
	if v, ok := Common(err); ok {
		return v
	}
	return Internal()
}

// Internal is the verdict about an error that nobody knows.
func Internal() Verdict { return Verdict{Code: connect.CodeInternal, Reason: "INTERNAL"} }

// Error makes what a caller is told. An error that is Connect's own already passes as it is.
func (judge Judge) Error(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var told *connect.Error
	if errors.As(err, &told) {
		return err
	}
	v := judge(err)
	text := v.Message
	switch {
	case text != "":
	case v.Code == connect.CodeInternal:
		text = internalText(ctx)
	default:
		text = err.Error()
	}
	e := connect.NewError(v.Code, errors.New(text))
	if v.Reason != "" {
		addDetail(e, &errdetails.ErrorInfo{Reason: v.Reason, Domain: errorDomain})
	}
	if len(v.Fields) > 0 {
		addDetail(e, &errdetails.BadRequest{FieldViolations: v.Fields})
	}
	if v.Retry > 0 {
		addDetail(e, &errdetails.RetryInfo{RetryDelay: durationpb.New(v.Retry)})
		e.Meta().Set("Retry-After", strconv.Itoa(int(math.Ceil(v.Retry.Seconds()))))
	}
	if v.Code == connect.CodeUnauthenticated {
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
