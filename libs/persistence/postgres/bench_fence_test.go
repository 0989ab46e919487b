package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/postgres"
	"github.com/parley-rt/parley/libs/persistence/postgres/benchtest"
)

// unfenced is the statement of Append without what compares and moves heads: everybody wins.
func unfenced(b *testing.B) string {
	b.Helper()
	sql := postgres.AppendSQL
	for _, part := range []struct{ begin, end, instead string }{
		{"upd AS (", "ins AS (", ""},
		{"   WHERE (SELECT count(*) FROM upd) =", "SELECT r.ri::bigint", ")\n"},
		{" WHERE (SELECT count(*) FROM upd) <", "", " WHERE false"},
	} {
		before, rest, found := strings.Cut(sql, part.begin)
		require.True(b, found, "the statement has changed, adapt this benchmark: no %q", part.begin)
		i := len(rest)
		if part.end != "" {
			i = strings.Index(rest, part.end)
			require.Positive(b, i, "the statement has changed, adapt this benchmark: no %q", part.end)
		}
		sql = before + part.instead + rest[i:]
	}
	return sql
}

// fence: what the comparison with the head costs.
func (j *journalBench) fence(b *testing.B) {
	arm := func(prepare func(*postgres.Backend)) func() benchtest.Load {
		journal := opened(b, j.cluster.SchemaURL(b), postgres.Options{})
		prepare(journal)
		streams := claimStreams(b, journal, "room", groupStreams, 1)
		return j.appending(b, journal, streams)
	}
	loads := benchtest.Alternate(*benchRounds,
		arm(func(*postgres.Backend) {}),
		arm(func(journal *postgres.Backend) { require.NoError(b, journal.PrepareAppends(b.Context(), unfenced(b))) }))
	j.table.Add("fence: CPU of the server", benchtest.AtMost(4.5).In("µs/ev", 1), benchtest.Difference(loads[0], loads[1], benchtest.Load.ServerMicros), loads[0],
		fmt.Sprintf("without: %.1f µs", benchtest.Median(loads[1], benchtest.Load.ServerMicros)))
	j.table.Add("fence: write-ahead log", benchtest.AtMost(140).In("B/ev", 0), benchtest.Difference(loads[0], loads[1], benchtest.Load.WALPerEvent), nil,
		fmt.Sprintf("%.0f B; without: %.0f B", benchtest.Median(loads[0], benchtest.Load.WALPerEvent), benchtest.Median(loads[1], benchtest.Load.WALPerEvent)))
}

// fencing: how soon the loser learns that it has lost, when it appends without a pause.
func (j *journalBench) fencing(b *testing.B) {
	const duels = 20
	url := j.cluster.SchemaURL(b)
	loser, winner := opened(b, url, postgres.Options{}), opened(b, url, postgres.Options{})
	var fencings, commits []benchtest.Load
	for range *benchRounds {
		streams := claimStreams(b, loser, "room", duels, 1)
		var learned, committed []time.Duration
		for _, s := range streams {
			l, c := duel(b, s, loser, winner)
			learned, committed = append(learned, l), append(committed, c...)
		}
		fencings, commits = append(fencings, benchtest.Samples(learned)), append(commits, benchtest.Samples(committed))
	}
	j.table.Add("from a claim's answer to the old writer's ErrFenced by a commit, p50", benchtest.AtMost(2),
		benchtest.Ratio(fencings, commits, benchtest.Load.P50), nil, benchtest.Latency(fencings)+"; commit: "+benchtest.Latency(commits))
}

// duel has winner claim the stream that loser appends to. It returns how long after the claim loser learned of it, and what
// its appends took before.
func duel(b *testing.B, s *stream, loser, winner persistence.Journal) (learned time.Duration, commits []time.Duration) {
	b.Helper()
	const before = 5
	type end struct {
		at      time.Time
		err     error
		commits []time.Duration
	}
	running, ended := make(chan struct{}), make(chan end, 1)
	go func() {
		var e end
		for n := 0; ; n++ {
			if n == before {
				close(running)
			}
			begin := time.Now()
			if e.err = s.appendTo(loser); e.err != nil {
				e.at = time.Now()
				ended <- e
				return
			}
			e.commits = append(e.commits, time.Since(begin))
		}
	}()
	select {
	case <-running:
	case e := <-ended:
		require.NoError(b, e.err)
	}
	_, err := winner.Claim(context.Background(), s.claim.Key, "winner", persistence.ClaimOptions{})
	claimed := time.Now()
	require.NoError(b, err)
	lost := <-ended
	require.ErrorIs(b, lost.err, persistence.ErrFenced)
	return max(lost.at.Sub(claimed), 0), lost.commits
}
