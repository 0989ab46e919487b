package parley

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/protocol/codes"
)

func TestEveryCodeHasAConstant(t *testing.T) {
	t.Parallel()
	have := map[Code]bool{}
	for _, c := range []Code{
		CodeBadFrame, CodeUnknownKind, CodeHelloLate, CodeInvalidArgument, CodeInvalidRoom, CodeTooLarge, CodeTooManyRooms,
		CodeUnauthenticated, CodeForbidden, CodeNotJoined, CodeMuted, CodeBanned, CodeRateLimited, CodeBusy, CodeUnavailable,
		CodeUnknownOutcome, CodeInternal,
	} {
		have[c] = true
	}
	for _, c := range codes.Errors() {
		require.True(t, have[Code(codes.ErrorName(c))], c)
	}
	require.Len(t, have, len(codes.Errors()))
	closes := map[CloseCode]bool{}
	for _, c := range []CloseCode{
		CloseDrain, CloseSlow, CloseOverloaded, CloseTokenExpired, CloseInternal, CloseUnauthenticated, CloseAuthTimeout,
		CloseBanned, CloseSessionReplaced, CloseAbuse,
	} {
		closes[c] = true
	}
	for _, c := range codes.Closes() {
		require.True(t, closes[CloseCode(c)], c)
	}
	require.Len(t, closes, len(codes.Closes()))
	reasons := map[ResetReason]bool{Rewound: true, Trimmed: true, ReplayLimit: true}
	for _, r := range codes.Resets() {
		require.True(t, reasons[ResetReason(codes.ResetName(r))], r)
	}
}

// Whatever a call returns, one errors.Is tells which code, reason or sentinel it was, and errors.As gives the data.
func TestErrorsAreTyped(t *testing.T) {
	t.Parallel()
	muted := fmt.Errorf("publish: %w", &PublishError{RoomID: "r", MaybeStored: true, Err: &Error{Code: CodeMuted, Message: "quiet"}})
	banned := fmt.Errorf("dial: %w", &CloseError{Code: CloseBanned, Reason: "BANNED"})
	for _, test := range []struct {
		err     error
		is, not error
		text    string
	}{
		{muted, CodeMuted, CodeBanned, "publish: publish to r (it may be stored): MUTED: quiet"},
		{banned, CloseBanned, CloseAbuse, "dial: server closed the connection: BANNED (4503)"},
		{&CloseError{Code: 1011}, CloseCode(1011), CloseCode(0), "server closed the connection (1011)"},
		{CloseSessionReplaced, CloseSessionReplaced, CloseBanned, "SESSION_REPLACED (4504)"},
		{CloseCode(1001), CloseCode(1001), CloseCode(1000), "close code 1001"},
		{&ResetError{RoomID: "r", Seq: 7, Reason: Rewound}, Rewound, Trimmed, "stream of room r was reset to 7: rewound"},
		{ReplayLimit, ReplayLimit, Trimmed, "replay_limit"},
		{CodeBusy, CodeBusy, CodeInternal, "BUSY"},
		{&HandshakeError{Status: http.StatusForbidden, Err: ErrClosed}, ErrClosed, ErrLeft, "handshake answered with 403: client is closed"},
	} {
		require.ErrorIs(t, test.err, test.is)
		require.NotErrorIs(t, test.err, test.not)
		require.EqualError(t, test.err, test.text)
	}
	refused, ok := errors.AsType[*Error](muted)
	require.True(t, ok)
	require.Equal(t, CodeMuted, refused.Code)
	failed, ok := errors.AsType[*PublishError](muted)
	require.True(t, ok)
	require.True(t, failed.MaybeStored)
	closed, ok := errors.AsType[*CloseError](banned)
	require.True(t, ok)
	require.Equal(t, CloseBanned, closed.Code)
}
