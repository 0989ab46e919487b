package postgres_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/postgres/benchtest"
	"github.com/parley-rt/parley/libs/persistence/sqlite"
)

// sqlite: the same load on the backend without a server, by the limit of any: one write and one fdatasync for each group.
func (j *journalBench) sqlite(b *testing.B) {
	journal, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "journal.db"), sqlite.Options{})
	require.NoError(b, err)
	defer func() { require.NoError(b, journal.Close(context.Background())) }()
	streams := make([]*stream, groupStreams)
	for i := range streams {
		streams[i] = &stream{events: benchEvents(1)}
		streams[i].claim, err = journal.Claim(b.Context(), persistence.StreamKey(fmt.Sprintf("room/%d", i)), "bench", persistence.ClaimOptions{})
		require.NoError(b, err)
	}
	raw := benchtest.NewRaw(b, filepath.Join(b.TempDir(), "raw.log"))
	requests := benchRequests()
	alone := benchtest.Meter{} // no server takes part
	loads := benchtest.Alternate(*benchRounds,
		func() benchtest.Load {
			return alone.Closed(b, groupStreams, 1, *benchRound, func(i int) error { return streams[i].appendTo(journal) })
		},
		func() benchtest.Load {
			return alone.Closed(b, groupStreams, 1, *benchRound, func(i int) error {
				requests[i].Seq++
				return raw.Append(&requests[i])
			})
		})
	j.table.Rate("SQLite, group commit, 1,000 streams, by write and fdatasync", benchtest.AtLeast(0.04), loads[0], loads[1],
		fmt.Sprintf("%s; raw: %s", benchtest.PerSecond(loads[0]), benchtest.PerSecond(loads[1])))
	j.table.Add("… CPU", benchtest.AtMost(35).In("µs/ev", 1), benchtest.Median(loads[0], benchtest.Load.ClientMicros), nil, "")
}
