package parley

import (
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
	reasons := map[ResetReason]bool{Rewound: true, Trimmed: true, ReplayLimit: true}
	for _, r := range codes.Resets() {
		require.True(t, reasons[ResetReason(codes.ResetName(r))], r)
	}
}
