package gateway

import (
	"math"
	"runtime/metrics"
	"time"
)

// lateness tells how long goroutines that were ready to run waited for a processor: the runtime's own measure, so it holds
// whatever the processors are busy with, other processes included. Not safe for concurrent use.
type lateness struct {
	sample []metrics.Sample
	before []uint64
}

const schedulingLatencies = "/sched/latencies:seconds"

func newLateness() *lateness {
	l := &lateness{sample: []metrics.Sample{{Name: schedulingLatencies}}}
	l.slowest()
	return l
}

// slowest is what all but a hundredth of the waits since the last call were below.
func (l *lateness) slowest() time.Duration {
	metrics.Read(l.sample)
	if l.sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return math.MaxInt64 // a runtime that does not tell: the least pace holds
	}
	h := l.sample[0].Value.Float64Histogram()
	if len(l.before) != len(h.Counts) {
		l.before = make([]uint64, len(h.Counts))
	}
	late := quantile(h.Buckets, h.Counts, l.before, 0.99)
	copy(l.before, h.Counts)
	return late
}

// quantile is the upper end of the bucket that holds the quantile of what was counted since before; 0 of nothing. Bucket i is
// from bounds[i] to bounds[i+1], in seconds.
func quantile(bounds []float64, counts, before []uint64, q float64) time.Duration {
	var total uint64
	for i, n := range counts {
		total += n - before[i]
	}
	if total == 0 {
		return 0
	}
	rank := uint64(math.Ceil(q * float64(total)))
	var seen uint64
	for i, n := range counts {
		if seen += n - before[i]; seen < rank {
			continue
		}
		end := bounds[i+1]
		if math.IsInf(end, 1) {
			end = bounds[i]
		}
		return time.Duration(end * float64(time.Second))
	}
	return 0 // not reached: seen ends at total
}
