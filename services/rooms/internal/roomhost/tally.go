package roomhost

import (
	"log/slog"
	"slices"
	"time"
)

// tallyPauses bounds the pauses that a tally keeps for its percentiles; of more, the first ones count.
const tallyPauses = 100_000

// tally is what became of the rooms that were to be given away, for the line in the log.
type tally struct {
	began           time.Time
	moved, released int
	pauses          []time.Duration
}

func (t *tally) addMoved(pause time.Duration) {
	t.moved++
	if len(t.pauses) < tallyPauses {
		t.pauses = append(t.pauses, pause)
	}
}

// attrs are what the line says.
func (t *tally) attrs(now time.Time) []any {
	return []any{
		slog.Int("moved", t.moved), slog.Int("released", t.released), slog.Duration("took", now.Sub(t.began)),
		slog.Duration("pause_p50", t.percentile(50)), slog.Duration("pause_p99", t.percentile(99)),
	}
}

func (t *tally) percentile(p int) time.Duration {
	if len(t.pauses) == 0 {
		return 0
	}
	slices.Sort(t.pauses)
	return t.pauses[min(len(t.pauses)*p/100, len(t.pauses)-1)]
}
