package postgres

import (
	"context"
	"time"
)

// unblockSQL ends sessions that hold a lock which the backend $1 waits for while they wait for their own client: a client
// that stopped in the middle of sending a batch holds its lane, and no timeout of the server applies to it. A session that
// waits for anything else, such as the replication of its commit, is left alone.
const unblockSQL = `
SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a
 WHERE a.pid = ANY (pg_blocking_pids($1)) AND a.wait_event_type = 'Client' AND a.wait_event = 'ClientRead'
   AND a.state <> 'idle' AND a.query_start < clock_timestamp() - interval '1 second'`

// watchBlockers looks after a second whether c waits for a client that is not there. Call the returned function when the
// statement has ended.
func (b *Backend) watchBlockers(c *conn) (stop func()) {
	pid := c.PgConn().PID()
	timer := time.AfterFunc(unblockAfter, func() {
		ctx, cancel := context.WithTimeout(b.lifetime, time.Second)
		defer cancel()
		tag, err := b.pool.Exec(ctx, unblockSQL, int32(pid))
		switch {
		case err != nil:
			b.log.Debug("look for stalled sessions", "err", err)
		case tag.RowsAffected() > 0:
			b.log.Warn("ended sessions that held a lane while their client was silent", "sessions", tag.RowsAffected())
		}
	})
	return func() { timer.Stop() }
}
