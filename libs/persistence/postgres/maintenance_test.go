package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/postgres"
)

// leavePartition does what a rotation has done that is interrupted before events go to its partition.
func leavePartition(t *testing.T, url, from, to string) {
	t.Helper()
	execIn(t, url, `CREATE TABLE {schema}.journal_event_p`+from+` (LIKE {schema}.journal_event INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING CONSTRAINTS);
		ALTER TABLE {schema}.journal_event ATTACH PARTITION {schema}.journal_event_p`+from+` FOR VALUES FROM (`+from+`) TO (`+to+`)`)
}

func partitions(t *testing.T, b *postgres.Backend) (parts []int32) {
	t.Helper()
	list, err := b.Partitions(t.Context())
	require.NoError(t, err)
	for i, p := range list {
		require.Equal(t, i == len(list)-1, p.Current)
		parts = append(parts, p.Part)
	}
	return parts
}

func TestRotateAfterAnInterruption(t *testing.T) {
	t.Parallel()
	url := shared.SchemaURL(t)
	b := opened(t, url, postgres.Options{})
	c := claim(t, b, "room/1")
	leavePartition(t, url, "5", "6")
	require.NoError(t, b.Rotate(t.Context(), 5))
	require.Equal(t, []int32{0, 5}, partitions(t, b))
	_, err := b.Append(t.Context(), c, 0, event("x"))
	require.NoError(t, err)
	require.Equal(t, 1, countIn(t, url, `SELECT count(*) FROM {schema}.journal_event_p5`))

	leavePartition(t, url, "6", "7")
	leavePartition(t, url, "7", "8")
	leavePartition(t, url, "9", "10")
	require.NoError(t, b.Rotate(t.Context(), 7))
	require.Equal(t, []int32{0, 5, 7}, partitions(t, b), "6 would say that the events of 5 end there")
	_, err = b.Append(t.Context(), c, 1, event("y"))
	require.NoError(t, err)
	require.NoError(t, b.Rotate(t.Context(), 9))
	require.Equal(t, []int32{0, 5, 7, 9}, partitions(t, b))
	events, err := b.Read(t.Context(), "room/1", 1, 10)
	require.NoError(t, err)
	require.Len(t, events, 2)
	_, err = b.DropPartitions(t.Context(), 0)
	require.NoError(t, err)
}

// awaitBlockedBy returns when somebody waits for a lock that c holds.
func awaitBlockedBy(t *testing.T, c *pgx.Conn) {
	t.Helper()
	require.Eventually(t, func() bool {
		var waits bool
		err := shared.QueryRow(t.Context(), "SELECT count(*) > 0 FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))",
			int32(c.PgConn().PID())).Scan(&waits)
		return err == nil && waits
	}, 10*time.Second, time.Millisecond)
}

// A checkpoint is claimed after a drop has looked for some, and before it declares the events gone.
func TestDropSeesACheckpointClaimedMeanwhile(t *testing.T) {
	t.Parallel()
	url := shared.SchemaURL(t)
	b := opened(t, url, postgres.Options{})
	var c persistence.Claim
	for i := 0; c.Lane == 0; i++ {
		c = claim(t, b, persistence.StreamKey(fmt.Sprint("room/", i)))
	}
	_, err := b.Append(t.Context(), c, 0, event("x"))
	require.NoError(t, err)
	require.NoError(t, b.SaveSnapshot(t.Context(), c, persistence.Snapshot{Seq: 1, Payload: []byte("s")}))
	require.NoError(t, b.Rotate(t.Context(), 1))
	holder := connect(t, url)
	tx, err := holder.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT FROM journal_lane WHERE lane = 0 FOR UPDATE`)
	require.NoError(t, err)
	dropped := make(chan error, 1)
	go func() {
		_, err := b.DropPartitions(t.Context(), 0)
		dropped <- err
	}()
	awaitBlockedBy(t, holder)
	at, err := b.ClaimCheckpoint(t.Context(), "mail", c.Lane, "node-a")
	require.NoError(t, err)
	require.NoError(t, tx.Rollback(t.Context()))
	var blocked *persistence.BlockedError
	require.ErrorAs(t, <-dropped, &blocked)
	require.Equal(t, []string{"mail"}, blocked.Checkpoints)
	events, _, err := b.ReadLane(t.Context(), c.Lane, at.Pos, 10)
	require.NoError(t, err)
	require.Len(t, events, 1)
	require.NoError(t, b.DeleteCheckpoint(t.Context(), "mail"))
	_, err = b.DropPartitions(t.Context(), 0)
	require.NoError(t, err)
}

// A checkpoint is claimed while a drop declares events gone: it begins beyond them.
func TestCheckpointClaimedDuringADrop(t *testing.T) {
	t.Parallel()
	url := shared.SchemaURL(t)
	b := opened(t, url, postgres.Options{})
	holder := connect(t, url)
	tx, err := holder.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `UPDATE journal_lane SET pos = pos + 10, trim_pos = 10 WHERE lane = 1`)
	require.NoError(t, err)
	type answer struct {
		at  persistence.Checkpoint
		err error
	}
	claimed := make(chan answer, 1)
	go func() {
		at, err := b.ClaimCheckpoint(t.Context(), "mail", 1, "node-a")
		claimed <- answer{at, err}
	}()
	awaitBlockedBy(t, holder)
	require.NoError(t, tx.Commit(t.Context()))
	got := <-claimed
	require.NoError(t, got.err)
	require.EqualValues(t, 10, got.at.Pos)
}
