package chaostest

import (
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// standbyGone begins a time in which nothing can be replicated, standbyBack ends it. Call them after the standby has gone
// and before it comes back.
func (w *witness) standbyGone() { w.setAway(time.Now()) }
func (w *witness) standbyBack() { w.setAway(time.Time{}) }

func (w *witness) setAway(at time.Time) {
	w.awayMu.Lock()
	defer w.awayMu.Unlock()
	w.away = at
}

// wrote checks that a write that began at a time and is acknowledged now can have been replicated.
func (w *witness) wrote(key persistence.StreamKey, began time.Time, what string) {
	w.awayMu.Lock()
	away := w.away
	w.awayMu.Unlock()
	if !away.IsZero() && began.After(away) {
		w.fail(replicated, key, "%s, begun %v after the standby had gone, was acknowledged while it is away", what, began.Sub(away))
	}
}
