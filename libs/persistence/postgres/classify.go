package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/parley-rt/parley/libs/persistence"
)

// verdict says what an error of a statement that was its own transaction tells of the transaction.
type verdict int

const (
	// unknown: the connection broke, or the server said something that may come after the commit.
	unknown verdict = iota
	// again: rolled back by a deadlock, a lock timeout or a serialisation failure. Trying again may help.
	again
	// poison: rolled back because of the data of the statement; one of its requests is to blame.
	poison
	// refused: rolled back because the server cannot or will not write now.
	refused
	// elsewhere: this server does not take writes any more. Another connection may find one that does.
	elsewhere
)

// judge reads an error. The server reports an ERROR only before it has decided to commit; after that there are warnings,
// and the FATAL end of the session.
func judge(err error) verdict {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.SeverityUnlocalized != "ERROR" {
		return unknown
	}
	switch pg.Code {
	case "40003": // statement_completion_unknown: CockroachDB means it
		return unknown
	case "25006": // read_only_sql_transaction: a demoted primary
		return elsewhere
	case "55P03", "57014": // lock timeout; canceled before the commit
		return again
	}
	switch pg.Code[:2] {
	case "40":
		return again
	case "22", "23", "54":
		return poison
	default: // 53 out of resources, 57 shutting down, 42 schema or privileges missing, 58 and XX broken
		return refused
	}
}

// connectionError gives an error of a read, or of a statement that changes nothing, its class: nothing was written.
func connectionError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, persistence.ErrClosed), errors.Is(err, persistence.ErrCorrupt), errors.Is(err, persistence.ErrTrimmed),
		errors.Is(err, persistence.ErrInvalid), errors.Is(err, persistence.ErrUnavailable):
		return err
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == "XX001" || pg.Code == "XX002") {
		return fmt.Errorf("%w: %w", persistence.ErrCorrupt, err)
	}
	return fmt.Errorf("%w: %w", persistence.ErrUnavailable, err)
}

// ended turns the end of a context before anything was done into the contract's error.
func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", persistence.ErrUnavailable, err)
	}
	return nil
}
