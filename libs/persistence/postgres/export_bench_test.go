package postgres

import (
	"context"
	"fmt"
)

// AppendSQL is the statement that PrepareAppends replaces.
const AppendSQL = appendSQL

// Writers is how many writers share the lanes at the moment.
func (b *Backend) Writers() int { return b.lanes.writers() }

// PrepareAppends has every writer of a backend that has stored nothing yet append by another statement, of the same
// parameters and results.
func (b *Backend) PrepareAppends(ctx context.Context, sql string) error {
	for _, w := range b.writers {
		c, err := b.connectWriter(ctx)
		if err != nil {
			return fmt.Errorf("connect writer %d: %w", w.number, err)
		}
		original, err := c.PgConn().Prepare(ctx, "", appendSQL, nil)
		if err == nil {
			w.prepared, err = c.PgConn().Prepare(ctx, appendName, sql, original.ParamOIDs)
		}
		if err != nil {
			c.abort()
			return fmt.Errorf("prepare: %w", err)
		}
		w.conn = c // the writer reads it after its first request, which comes later
	}
	return nil
}
