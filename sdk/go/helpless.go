package parley

import "time"

// helpless decides when to leave a gateway that answers and cannot serve: one that is cut off from the rooms nodes refuses
// everything as unavailable for as long as that lasts, while others may serve. When all refuse, because rooms nodes or journal are
// away, leaving helps nobody, so each time in a row takes twice as long as the one before.
type helpless struct {
	// patience is the least that a gateway gets; up to as much again is added at random.
	patience time.Duration
	// since is the first refusal after which nothing was served; until, when to leave. Zero: there is none.
	since, until time.Time
	// left is how many were left in a row.
	left int
}

// maxHelpless bounds the doubling: the longest wait is 16 to 32 times the patience.
const maxHelpless = 4

// mostPatience is as good as for ever, and can be doubled.
const mostPatience = 365 * 24 * time.Hour

// refused takes note of a refusal as unavailable and tells whether it is time to leave. random is in [0, 1).
func (h *helpless) refused(now time.Time, random float64) (leave bool) {
	if h.since.IsZero() {
		patience := min(h.patience, mostPatience) << min(h.left, maxHelpless)
		h.since, h.until = now, now.Add(patience+time.Duration(random*float64(patience)))
	}
	if now.Before(h.until) {
		return false
	}
	h.disconnected()
	h.left++
	return true
}

// served: the gateway did what it was asked for.
func (h *helpless) served() { h.since, h.left = time.Time{}, 0 }

// disconnected: the next connection is to another gateway, or to the same one later.
func (h *helpless) disconnected() { h.since = time.Time{} }
