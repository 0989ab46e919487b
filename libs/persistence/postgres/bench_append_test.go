package postgres_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence/postgres"
	"github.com/parley-rt/parley/libs/persistence/postgres/benchtest"
)

const (
	groupStreams     = 1000
	groupConnections = 64
)

// appending is the arm in which every stream appends to the journal.
func (j *journalBench) appending(b *testing.B, journal *postgres.Backend, streams []*stream) func() benchtest.Load {
	return func() benchtest.Load {
		return j.closed(b, len(streams), len(streams[0].events), func(i int) error { return streams[i].appendTo(journal) })
	}
}

// groupCommit: a thousand rooms, each of which waits for its append before the next.
func (j *journalBench) groupCommit(b *testing.B) {
	journal := opened(b, j.cluster.SchemaURL(b), postgres.Options{})
	streams := claimStreams(b, journal, "room", groupStreams, 1)
	arms := []func() benchtest.Load{j.appending(b, journal, streams), j.singles(b)}
	arms[0]() // settles the number of writers
	writers := journal.Writers()
	connections := slices.Compact([]int{writers, 2})
	for _, n := range connections {
		arms = append(arms, j.bare(b, n))
	}
	loads := benchtest.Alternate(*benchRounds, arms...)
	own, single := loads[0], loads[1]
	for i, n := range connections {
		bare := loads[2+i]
		j.table.Rate(fmt.Sprintf("group commit, 1,000 streams, by bare INSERTs over %d connections", n), benchtest.AtLeast(0.6), own, bare,
			fmt.Sprintf("%s, %d writers; bare: %s, %s", benchtest.PerSecond(own), writers, benchtest.PerSecond(bare), benchtest.Cost(bare)))
	}
	j.table.Rate(fmt.Sprintf("… by one INSERT per transaction over %d connections", groupConnections), benchtest.AtLeast(6), own, single,
		fmt.Sprintf("single: %s, %s", benchtest.PerSecond(single), benchtest.Cost(single)))
	j.table.Add("… CPU of the server", benchtest.AtMost(12).In("µs/ev", 1), benchtest.Median(own, benchtest.Load.ServerMicros), nil, "")
	j.table.Add("… CPU of the client", benchtest.AtMost(6).In("µs/ev", 1), benchtest.Median(own, benchtest.Load.ClientMicros), nil, "")
	j.table.Add("… p99 by p50 of the latency", benchtest.AtMost(3),
		benchtest.Median(own, func(l benchtest.Load) float64 { return l.Quantile(0.99).Seconds() / l.P50() }), nil,
		"p50 "+benchtest.Latency(own))
	j.allocations(b, journal, streams)
}

// bare is the arm of group commit without a journal.
func (j *journalBench) bare(b *testing.B, writers int) func() benchtest.Load {
	bare := benchtest.NewBare(b, j.schema(b), writers)
	requests := benchRequests()
	return func() benchtest.Load {
		return j.closed(b, len(requests), 1, func(i int) error {
			requests[i].Seq++
			return bare.Append(&requests[i])
		})
	}
}

// benchRequests are the appends of as many streams without a journal.
func benchRequests() []benchtest.Request {
	requests := make([]benchtest.Request, groupStreams)
	for i := range requests {
		requests[i] = benchtest.Request{Stream: int64(i + 1), Events: benchEvents(1)}
	}
	return requests
}

// singles is the arm of one transaction per event.
func (j *journalBench) singles(b *testing.B) func() benchtest.Load {
	single := benchtest.NewSingles(b, j.schema(b), groupConnections)
	heads := make([]uint64, groupStreams)
	event := &benchEvents(1)[0]
	var pos atomic.Uint64
	return func() benchtest.Load {
		return j.closed(b, groupStreams, 1, func(i int) error {
			heads[i]++
			return single.Append(int64(i+1), heads[i], pos.Add(1), event)
		})
	}
}

// allocations of the library: the loop itself makes none.
func (j *journalBench) allocations(b *testing.B, journal *postgres.Backend, streams []*stream) {
	const laps = 20
	var before, after runtime.MemStats
	done := make(chan error, len(streams))
	lap := func(n int) {
		for _, s := range streams {
			go func() {
				var err error
				for i := 0; i < n && err == nil; i++ {
					err = s.appendTo(journal)
				}
				done <- err
			}()
		}
		for range streams {
			require.NoError(b, <-done)
		}
	}
	lap(1)
	runtime.ReadMemStats(&before)
	lap(laps)
	runtime.ReadMemStats(&after)
	events := float64(laps * len(streams))
	j.table.Add("… allocations", benchtest.AtMost(6).In("per event", 1), float64(after.Mallocs-before.Mallocs)/events, nil, "")
	j.table.Add("… bytes allocated", benchtest.AtMost(1024).In("B/ev", 0), float64(after.TotalAlloc-before.TotalAlloc)/events, nil, "")
}

// oneStream: the latency of an append when nothing else happens.
func (j *journalBench) oneStream(b *testing.B) {
	journal := opened(b, j.cluster.SchemaURL(b), postgres.Options{})
	single := benchtest.NewSingles(b, j.schema(b), 1)
	event, head := &benchEvents(1)[0], uint64(0)
	loads := benchtest.Alternate(*benchRounds,
		j.appending(b, journal, claimStreams(b, journal, "room", 1, 1)),
		func() benchtest.Load {
			return j.closed(b, 1, 1, func(int) error {
				head++
				return single.Append(1, head, head, event)
			})
		})
	j.table.Add("one stream, p50 of an append by that of an INSERT", benchtest.AtMost(2), benchtest.Ratio(loads[0], loads[1], benchtest.Load.P50), loads[0],
		fmt.Sprintf("%s; INSERT: %s, %s", benchtest.Latency(loads[0]), benchtest.Latency(loads[1]), benchtest.Cost(loads[1])))
}

// slowCommit: ten thousand rooms, and a disk that takes 20 ms.
func (j *journalBench) slowCommit(b *testing.B) {
	const n = 10_000
	url := j.cluster.SchemaURL(b)
	fast := opened(b, url, postgres.Options{})
	slow := opened(b, url+"&commit_delay=20000&commit_siblings=0", postgres.Options{})
	streams := claimStreams(b, fast, "room", n, 1)
	loads := benchtest.Alternate(*benchRounds, j.appending(b, slow, streams), j.appending(b, fast, streams))
	j.table.Rate("10,000 streams, commits that take 20 ms more, by the same without", benchtest.AtLeast(0.6), loads[0], loads[1],
		fmt.Sprintf("%s, p50 %s; without: %s, p50 %s", benchtest.PerSecond(loads[0]), benchtest.Latency(loads[0]),
			benchtest.PerSecond(loads[1]), benchtest.Latency(loads[1])))
}

// eventsPerAppend: what an append costs beside its events.
func (j *journalBench) eventsPerAppend(b *testing.B) {
	journal := opened(b, j.cluster.SchemaURL(b), postgres.Options{})
	loads := benchtest.Alternate(*benchRounds,
		j.appending(b, journal, claimStreams(b, journal, "five", groupStreams, 5)),
		j.appending(b, journal, claimStreams(b, journal, "one", groupStreams, 1)))
	j.table.Rate("5 events per append, 1,000 streams, by 1 event, in events per second", benchtest.AtLeast(1.3), loads[0], loads[1],
		fmt.Sprintf("%s; by 1: %s", benchtest.PerSecond(loads[0]), benchtest.PerSecond(loads[1])))
}

// lowLoad: whether one writer for all lanes is worth it when little is appended.
func (j *journalBench) lowLoad(b *testing.B) {
	url := j.cluster.SchemaURL(b)
	journal := opened(b, url, postgres.Options{})
	streams := claimStreams(b, journal, "room", 64, 1)
	// A backend that gets the streams of one lane only has one writer for it.
	perLane := map[int16]*postgres.Backend{}
	for _, s := range streams {
		if perLane[s.claim.Lane] == nil {
			perLane[s.claim.Lane] = opened(b, url, postgres.Options{})
		}
	}
	loads := benchtest.Alternate(*benchRounds, j.appending(b, journal, streams), func() benchtest.Load {
		return j.closed(b, len(streams), 1, func(i int) error { return streams[i].appendTo(perLane[streams[i].claim.Lane]) })
	})
	require.Less(b, journal.Writers(), len(perLane), "writers at low load")
	j.table.Add(fmt.Sprintf("64 appends in flight, CPU time with as many writers as needed (%d) by that with %d", journal.Writers(), len(perLane)),
		benchtest.AtMost(1), benchtest.Ratio(loads[0], loads[1], benchtest.Load.Micros), loads[0],
		fmt.Sprintf("%s; %d writers: %s, %s", benchtest.PerSecond(loads[0]), len(perLane), benchtest.PerSecond(loads[1]), benchtest.Cost(loads[1])))
}
