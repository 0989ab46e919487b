package postgres_test

import (
	"testing"

	"github.com/stretchr/testify/require"

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
