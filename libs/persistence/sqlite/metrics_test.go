package sqlite

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/parley-rt/parley/libs/persistence"
)

// counting is a meter provider that counts what each instrument was given.
type counting struct {
	noop.MeterProvider
	mu    sync.Mutex
	given map[string]int
}

func (c *counting) Meter(string, ...metric.MeterOption) metric.Meter { return countingMeter{c: c} }

func (c *counting) add(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.given[name]++
}

func (c *counting) of(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.given[name]
}

type countingMeter struct {
	noop.Meter
	c *counting
}

type countingInstrument struct {
	name string
	c    *counting
}

type floatHistogram struct {
	noop.Float64Histogram
	countingInstrument
}

func (h floatHistogram) Enabled(context.Context) bool                            { return true }
func (h floatHistogram) Record(context.Context, float64, ...metric.RecordOption) { h.c.add(h.name) }

type intHistogram struct {
	noop.Int64Histogram
	countingInstrument
}

func (h intHistogram) Record(context.Context, int64, ...metric.RecordOption) { h.c.add(h.name) }

type intCounter struct {
	noop.Int64Counter
	countingInstrument
}

func (n intCounter) Add(context.Context, int64, ...metric.AddOption) { n.c.add(n.name) }

func (m countingMeter) Float64Histogram(name string, _ ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return floatHistogram{countingInstrument: countingInstrument{name, m.c}}, nil
}

func (m countingMeter) Int64Histogram(name string, _ ...metric.Int64HistogramOption) (metric.Int64Histogram, error) {
	return intHistogram{countingInstrument: countingInstrument{name, m.c}}, nil
}

func (m countingMeter) Int64Counter(name string, _ ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return intCounter{countingInstrument: countingInstrument{name, m.c}}, nil
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	counts := &counting{given: map[string]int{}}
	b, err := Open(t.Context(), filepath.Join(t.TempDir(), "journal.db"), Options{MeterProvider: counts})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close(context.Background())) }()

	c := claimOf(t, b, "room/1")
	require.NoError(t, <-b.appending(c, 0, event("x")))
	require.Equal(t, 1, counts.of("parley.journal.append.duration"))
	require.Equal(t, 2, counts.of("parley.journal.batch.size"))
	require.Equal(t, 2, counts.of("parley.journal.queue.age"))

	require.ErrorIs(t, <-b.appending(c, 0, event("x")), persistence.ErrConflict)
	require.Equal(t, 1, counts.of("parley.journal.conflicts"))
	claimOf(t, b, "room/1")
	require.ErrorIs(t, <-b.appending(c, 1, event("x")), persistence.ErrFenced)
	require.ErrorIs(t, b.SaveSnapshot(t.Context(), c, persistence.Snapshot{Seq: 1}), persistence.ErrFenced)
	require.Equal(t, 2, counts.of("parley.journal.fenced"))
	require.Equal(t, 1, counts.of("parley.journal.conflicts"))
	require.Equal(t, 3, counts.of("parley.journal.append.duration"), "refusals are answers, too")
}
