package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/ask"
	"github.com/parley-rt/parley/libs/opskit/adminapi"
	"github.com/parley-rt/parley/libs/opskit/auth"
	"github.com/parley-rt/parley/libs/persistence"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codes"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

func refused(code clientv1.ErrorCode, after time.Duration) error {
	return fmt.Errorf("ask: %w", &ask.RefusedError{Code: code, Message: "the room's word", RetryAfter: after})
}

// The whole table, and that what is not in it is internal and not shown.
func TestErrorTable(t *testing.T) {
	t.Parallel()
	const secret = "the text of an inner error"
	inner := errors.New(secret)
	for name, c := range map[string]struct {
		err     error
		code    connect.Code
		reason  string
		message string
		retry   time.Duration
	}{
		"unknown":         {inner, connect.CodeInternal, "INTERNAL", "internal error", 0},
		"panic":           {fmt.Errorf("%w: %w", adminapi.ErrPanic, inner), connect.CodeInternal, "INTERNAL", "internal error", 0},
		"wrong answer":    {unexpected(inner), connect.CodeInternal, "INTERNAL", "internal error", 0},
		"too large frame": {actorkit.ErrFrameTooLarge, connect.CodeInternal, "INTERNAL", "internal error", 0},
		"corrupt journal": {persistence.ErrCorrupt, connect.CodeInternal, "INTERNAL", "internal error", 0},
		"token":           {&auth.RefusedError{Reason: auth.ReasonSignature}, connect.CodeUnauthenticated, "UNAUTHENTICATED", "a valid bearer token with the scope parley:admin", 0},
		"token, wrapped":  {fmt.Errorf("x: %w", &auth.RefusedError{Reason: auth.ReasonMissing}), connect.CodeUnauthenticated, "UNAUTHENTICATED", "a valid bearer token with the scope parley:admin", 0},
		"keys":            {auth.ErrKeys, connect.CodeUnavailable, "UNAVAILABLE", "cannot be told now", time.Second},
		"no moderator":    {errForbidden, connect.CodePermissionDenied, "FORBIDDEN", "the token does not allow this", 0},
		"unused":          {errUnused, connect.CodeNotFound, "ROOM_NOT_FOUND", "the room was never used", 0},
		"in flight":       {adminapi.ErrBusy, connect.CodeResourceExhausted, "BUSY", "too many requests are in flight", 250 * time.Millisecond},
		"caller gone":     {errors.Join(ask.ErrUnanswered, context.Canceled), connect.CodeCanceled, "", "went away", 0},
		"unanswered":      {fmt.Errorf("%w: %w", ask.ErrUnanswered, inner), connect.CodeDeadlineExceeded, "UNKNOWN_OUTCOME", "repeat it", time.Second},
		"unanswered after a refusal": {
			fmt.Errorf("%w: %w", ask.ErrUnanswered, refused(clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE, 0)),
			connect.CodeDeadlineExceeded, "UNKNOWN_OUTCOME", "repeat it", time.Second,
		},
		"journal silent":     {fmt.Errorf("block: %w", persistence.ErrUnknown), connect.CodeDeadlineExceeded, "UNKNOWN_OUTCOME", "repeat it", time.Second},
		"unreachable":        {ask.ErrUnreachable, connect.CodeUnavailable, "UNAVAILABLE", "nothing was changed", time.Second},
		"journal away":       {fmt.Errorf("%w: %w", persistence.ErrUnavailable, inner), connect.CodeUnavailable, "UNAVAILABLE", "nothing was changed", time.Second},
		"journal overloaded": {persistence.ErrOverloaded, connect.CodeUnavailable, "UNAVAILABLE", "nothing was changed", time.Second},
		"journal closed":     {persistence.ErrClosed, connect.CodeUnavailable, "UNAVAILABLE", "nothing was changed", time.Second},
		"deadline":           {context.DeadlineExceeded, connect.CodeUnavailable, "UNAVAILABLE", "nothing was changed", time.Second},
		"argument":           {refused(clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, 0), connect.CodeInvalidArgument, "INVALID_ARGUMENT", "the room's word", 0},
		"room":               {refused(clientv1.ErrorCode_ERROR_CODE_INVALID_ROOM, 0), connect.CodeInvalidArgument, "INVALID_ROOM", "the room's word", 0},
		"full list":          {refused(clientv1.ErrorCode_ERROR_CODE_TOO_LARGE, 0), connect.CodeFailedPrecondition, "TOO_LARGE", "the room's word", 0},
		"not joined":         {refused(clientv1.ErrorCode_ERROR_CODE_NOT_JOINED, 0), connect.CodeFailedPrecondition, "NOT_JOINED", "the room's word", 0},
		"forbidden":          {refused(clientv1.ErrorCode_ERROR_CODE_FORBIDDEN, 0), connect.CodePermissionDenied, "FORBIDDEN", "the room's word", 0},
		"muted":              {refused(clientv1.ErrorCode_ERROR_CODE_MUTED, 0), connect.CodePermissionDenied, "MUTED", "the room's word", 0},
		"banned":             {refused(clientv1.ErrorCode_ERROR_CODE_BANNED, 0), connect.CodePermissionDenied, "BANNED", "the room's word", 0},
		"limited":            {refused(clientv1.ErrorCode_ERROR_CODE_RATE_LIMITED, 3*time.Second), connect.CodeResourceExhausted, "RATE_LIMITED", "the room's word", 3 * time.Second},
		"busy":               {refused(clientv1.ErrorCode_ERROR_CODE_BUSY, 0), connect.CodeResourceExhausted, "BUSY", "the room's word", 250 * time.Millisecond},
		"room internal":      {refused(clientv1.ErrorCode_ERROR_CODE_INTERNAL, 0), connect.CodeInternal, "INTERNAL", "internal error", 0},
		"a code of others":   {refused(clientv1.ErrorCode_ERROR_CODE_HELLO_LATE, 0), connect.CodeInternal, "HELLO_LATE", "internal error", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var told *connect.Error
			require.ErrorAs(t, adminapi.Judge(judge).Error(t.Context(), c.err), &told)
			require.Equal(t, c.code, told.Code())
			require.Contains(t, told.Message(), c.message)
			require.NotContains(t, told.Message(), secret)
			v := judge(c.err)
			require.Equal(t, c.reason, v.Reason)
			require.Equal(t, c.retry, v.Retry)
			require.Equal(t, c.retry > 0, told.Meta().Get("Retry-After") != "")
		})
	}
	require.NoError(t, adminapi.Judge(judge).Error(t.Context(), nil))
	own := connect.NewError(connect.CodeAborted, errors.New("as it is"))
	require.Same(t, own, adminapi.Judge(judge).Error(t.Context(), own))
}

// Every code of the protocol that means "try again" comes with when.
func TestRetryableRefusalsSayWhen(t *testing.T) {
	t.Parallel()
	for _, code := range codes.Errors() {
		v := judge(refused(code, 0))
		if codes.Retryable(code) && code != clientv1.ErrorCode_ERROR_CODE_INTERNAL {
			require.Positive(t, v.Retry, code)
		} else {
			require.Zero(t, v.Retry, code)
		}
	}
}

func TestErrorOverHTTP(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.rooms.says(nil, refused(clientv1.ErrorCode_ERROR_CODE_BUSY, 1500*time.Millisecond))
	a := b.call("Ban", `{"room_id":"r","member_id":"m"}`)
	require.Equal(t, http.StatusTooManyRequests, a.status)
	require.Equal(t, "2", a.header.Get("Retry-After"))
	require.Equal(t, "resource_exhausted", a.body["code"])
	require.Equal(t, map[string]any{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "BUSY", "domain": "parley"}, withType(a, "ErrorInfo"))
	require.Equal(t, "1.500s", a.debug("RetryInfo")["retryDelay"])

	b.rooms.says(nil, errors.New("password=hunter2"))
	a = b.call("Ban", `{"room_id":"r","member_id":"m"}`)
	require.Equal(t, http.StatusInternalServerError, a.status)
	require.Regexp(t, "^internal error, trace [0-9a-f]{32}$", a.body["message"])
	require.NotContains(t, a.text, "hunter2")
	require.Contains(t, b.logs.String(), "hunter2", "the operator sees it")

	require.EqualValues(t, 1, b.counted("parley.api.request.duration", "code", "internal"))
	require.EqualValues(t, 1, b.counted("parley.api.request.duration", "code", "resource_exhausted"))
	require.EqualValues(t, 2, b.counted("parley.api.request.duration", "method", "Ban"))
}

func withType(a answer, kind string) map[string]any {
	d := a.debug(kind)
	if d != nil {
		d["@type"] = "type.googleapis.com/google.rpc." + kind
	}
	return d
}

// A caller's trace goes on through the API, into what it publishes, and into what it is told of a fault.
func TestTraceGoesOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const id = "0af7651916cd43dd8448eb211c80319c"
	traced := func(r *http.Request) { r.Header.Set("traceparent", "00-"+id+"-b7ad6b7169203331-01") }
	a := b.call("Publish", `{"room_id":"r","sender":"s"}`, traced)
	require.Equal(t, "internal error, trace "+id, a.body["message"])
	stored := b.rooms.last(t).GetPublish().GetDrafts()[0].GetTraceparent()
	require.Contains(t, stored, id)
	require.NotContains(t, stored, "b7ad6b7169203331", "the API's span is in between")
}

func TestPanicIsAnError(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.rooms.answer = func(context.Context, *roomv1.Frame) (*roomv1.Frame, error) { panic("boom") }
	a := b.call("GetRoom", `{"room_id":"r"}`)
	require.Equal(t, http.StatusInternalServerError, a.status)
	require.NotContains(t, a.text, "boom")
	require.Contains(t, b.logs.String(), "boom")
}

// The table in the reference has every pair of code and reason that there is, with the status that goes over the wire.
func TestReferenceListsTheErrors(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", "reference", "api.md"))
	require.NoError(t, err)
	listed := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (\\d{3}) \\| `(\\w+)` \\| (?:`(\\w+)`)? *\\|").FindAllStringSubmatch(string(page), -1) {
		listed[strings.Join(row[1:], " ")] = true
	}
	b := setup(t)
	seen := map[string]bool{"403 permission_denied ": true, "401 unauthenticated UNAUTHENTICATED": true} // see guard_test.go
	note := func(a answer) {
		code, _ := a.body["code"].(string)
		reason, _ := a.debug("ErrorInfo")["reason"].(string)
		seen[strings.Join([]string{fmt.Sprint(a.status), code, reason}, " ")] = true
	}
	note(b.call("Ban", `{"room_id":""}`))
	note(b.call("Ban", `{"room_id":"r"}`))
	for _, err := range []error{
		adminapi.ErrBusy, errUnused, errForbidden, ask.ErrUnanswered, ask.ErrUnreachable, errAnswer, refused(clientv1.ErrorCode_ERROR_CODE_TOO_LARGE, 0),
	} {
		b.rooms.says(nil, err)
		note(b.call("Ban", `{"room_id":"r","member_id":"m"}`))
	}
	require.Equal(t, seen, listed)
}
