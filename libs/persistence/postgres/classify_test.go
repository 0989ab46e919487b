package postgres

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

func pgError(severity, code string) error {
	return fmt.Errorf("wrapped: %w", &pgconn.PgError{SeverityUnlocalized: severity, Code: code})
}

// TestJudge: whatever may come after the commit leaves the outcome open; only an ERROR is certain.
func TestJudge(t *testing.T) {
	t.Parallel()
	for want, errs := range map[verdict][]error{
		unknown: {
			io.EOF, io.ErrUnexpectedEOF, context.DeadlineExceeded, errDoubtful,
			pgError("FATAL", "57P01"), pgError("FATAL", "57P02"), pgError("PANIC", "53100"), pgError("", "23505"), pgError("ERROR", "40003"),
		},
		again:     {pgError("ERROR", "40001"), pgError("ERROR", "40P01"), pgError("ERROR", "55P03"), pgError("ERROR", "57014")},
		poison:    {pgError("ERROR", "22021"), pgError("ERROR", "23505"), pgError("ERROR", "23502"), pgError("ERROR", "54000")},
		refused:   {pgError("ERROR", "53100"), pgError("ERROR", "53200"), pgError("ERROR", "42P01"), pgError("ERROR", "42501"), pgError("ERROR", "XX000"), pgError("ERROR", "58030")},
		elsewhere: {pgError("ERROR", "25006")},
	} {
		for _, err := range errs {
			require.Equal(t, want, judge(err), "%v", err)
		}
	}
}

func TestFailure(t *testing.T) {
	t.Parallel()
	require.ErrorIs(t, failure(pgError("ERROR", "53100"), false), persistence.ErrUnavailable)
	require.ErrorIs(t, failure(pgError("ERROR", "53100"), true), persistence.ErrUnknown, "an attempt before is not known")
	require.ErrorIs(t, failure(pgError("ERROR", "23505"), false), persistence.ErrCorrupt)
	require.ErrorIs(t, failure(pgError("ERROR", "22021"), false), persistence.ErrInvalid)
	require.ErrorIs(t, failure(fmt.Errorf("%w: %w", errNotSent, io.EOF), false), persistence.ErrUnavailable)
	require.ErrorIs(t, failure(persistence.ErrClosed, false), persistence.ErrClosed)
}

// TestOutcome: an event is an append's own only if an attempt before is in doubt, and epoch and id are its.
func TestOutcome(t *testing.T) {
	t.Parallel()
	mine, other := [16]byte{1}, [16]byte{2}
	a := &appendRequest{claim: persistence.Claim{Key: "room/1", StreamID: 7, Epoch: 3}, expected: 5, first: mine}
	stored := standing{epoch: 3, lastSeq: 6, event: &mine, eventEpoch: 3}
	require.NoError(t, stored.outcome(a, true))
	require.ErrorIs(t, stored.outcome(a, false), persistence.ErrConflict)
	fenced := standing{epoch: 4, lastSeq: 9, owner: "b", event: &mine, eventEpoch: 3}
	require.NoError(t, fenced.outcome(a, true), "stored, and then somebody claimed the stream")
	require.ErrorIs(t, (standing{epoch: 4, event: &other, eventEpoch: 4}).outcome(a, true), persistence.ErrFenced)
	require.ErrorIs(t, (standing{epoch: 4, event: &mine, eventEpoch: 4}).outcome(a, true), persistence.ErrFenced, "another activation retried the same message")
	require.ErrorIs(t, (standing{epoch: 4}).outcome(a, true), persistence.ErrFenced)
	require.ErrorIs(t, (standing{epoch: 3, lastSeq: 4}).outcome(a, true), persistence.ErrConflict, "the tail is lost")
	require.ErrorIs(t, (standing{}).outcome(a, true), persistence.ErrInvalid)
}
