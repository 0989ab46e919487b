package benchtest

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Meter knows what to measure beside the loop itself.
type Meter struct {
	// Postmaster is the process whose tree is the server; 0: there is none.
	Postmaster int
	// WAL returns how many bytes of log the server has written so far; nil: not measured.
	WAL func() int64
}

// Load is what one round did, between its warming up and its end.
type Load struct {
	Events         int64
	Elapsed        time.Duration
	Server, Client time.Duration // CPU time
	WALBytes       int64
	latencies      []time.Duration // ascending
}

// Rate is in events per second.
func (l Load) Rate() float64 { return float64(l.Events) / l.Elapsed.Seconds() }

// ServerMicros is the server's CPU time per event.
func (l Load) ServerMicros() float64 { return l.perEvent(l.Server) }

// ClientMicros is this process's CPU time per event, the loop included.
func (l Load) ClientMicros() float64 { return l.perEvent(l.Client) }

// Micros is the sum of both.
func (l Load) Micros() float64 { return l.ServerMicros() + l.ClientMicros() }

// WALPerEvent is in bytes.
func (l Load) WALPerEvent() float64 { return float64(l.WALBytes) / float64(max(l.Events, 1)) }

func (l Load) perEvent(d time.Duration) float64 {
	return float64(d.Nanoseconds()) / 1000 / float64(max(l.Events, 1))
}

// Quantile of the operations' latencies.
func (l Load) Quantile(q float64) time.Duration {
	if len(l.latencies) == 0 {
		return 0
	}
	return l.latencies[min(int(q*float64(len(l.latencies))), len(l.latencies)-1)]
}

// P50 is the median latency in seconds.
func (l Load) P50() float64 { return l.Quantile(0.5).Seconds() }

// worker counts on a cache line of its own.
type worker struct {
	events    atomic.Int64
	latencies []time.Duration
	_         [64]byte
}

const (
	warming int32 = iota
	measuring
	ending
)

// Closed has so many workers call op, each again when it has returned, and measures for d what they do after a fifth of d.
// An op stores each events.
func (m Meter) Closed(tb testing.TB, workers, each int, d time.Duration, op func(worker int) error) Load {
	tb.Helper()
	all := make([]worker, workers)
	var phase atomic.Int32
	var group sync.WaitGroup
	for i := range all {
		w := &all[i]
		w.latencies = make([]time.Duration, 0, 64)
		group.Go(func() {
			for phase.Load() != ending {
				begin := time.Now()
				if err := op(i); err != nil {
					tb.Errorf("worker %d: %v", i, err)
					return
				}
				if phase.Load() == measuring {
					w.latencies = append(w.latencies, time.Since(begin))
				}
				w.events.Add(int64(each))
			}
		})
	}
	time.Sleep(d / 5)
	before := m.snapshot(tb, all)
	phase.Store(measuring)
	time.Sleep(d)
	load := m.snapshot(tb, all).since(before)
	phase.Store(ending)
	group.Wait()
	for i := range all {
		load.latencies = append(load.latencies, all[i].latencies...)
	}
	slices.Sort(load.latencies)
	return load
}

// snapshot is what has been used and done so far.
type snapshot struct {
	cpu    cpu
	wal    int64
	events int64
	at     time.Time
}

func (m Meter) snapshot(tb testing.TB, all []worker) (s snapshot) {
	tb.Helper()
	if m.WAL != nil {
		s.wal = m.WAL()
	}
	var err error
	s.cpu, err = readCPU(m.Postmaster)
	require.NoError(tb, err)
	for i := range all {
		s.events += all[i].events.Load()
	}
	s.at = time.Now()
	return s
}

func (s snapshot) since(before snapshot) Load {
	used := s.cpu.since(before.cpu)
	return Load{
		Events: s.events - before.events, Elapsed: s.at.Sub(before.at), Server: used.server, Client: used.client,
		WALBytes: s.wal - before.wal,
	}
}

// Series calls op n times, one after the other.
func (m Meter) Series(tb testing.TB, n int, op func() error) Load {
	tb.Helper()
	all := make([]worker, 1)
	latencies := make([]time.Duration, 0, n)
	before := m.snapshot(tb, all)
	for range n {
		begin := time.Now()
		require.NoError(tb, op())
		latencies = append(latencies, time.Since(begin))
	}
	all[0].events.Store(int64(n))
	load := m.snapshot(tb, all).since(before)
	slices.Sort(latencies)
	load.latencies = latencies
	return load
}

// Samples is a load of which only the latencies are known.
func Samples(latencies []time.Duration) Load {
	latencies = slices.Clone(latencies)
	slices.Sort(latencies)
	return Load{Events: int64(len(latencies)), latencies: latencies}
}
