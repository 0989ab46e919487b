package gateway

import (
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// More goroutines than processors that all want to run wait for each other, and that is seen. Not parallel: the measure is the
// process's.
func TestLatenessSeesACrowd(t *testing.T) {
	l := newLateness()
	var over atomic.Bool
	var all sync.WaitGroup
	for range 16 * runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for !over.Load() {
				for begun := time.Now(); time.Since(begun) < time.Millisecond; {
					continue // keeps the processor
				}
				runtime.Gosched()
			}
		})
	}
	defer all.Wait()
	defer over.Store(true)
	require.Eventually(t, func() bool { return l.slowest() > tooLate }, patience, 50*time.Millisecond)
}

func TestLeastPaceHoldsWithoutTheRuntimesMeasure(t *testing.T) {
	t.Parallel()
	l := &lateness{sample: []metrics.Sample{{Name: "/no/such:measure"}}}
	p := newPace(10, 1000)
	for range 100 {
		p.observe(strain{late: l.slowest()}, true)
	}
	require.InDelta(t, 10, p.rate, 0)
}
