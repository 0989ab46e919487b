package parley

import "time"

// liveness decides when to ask the server for a sign of life and when to give it up.
type liveness struct {
	interval, timeout time.Duration
	// pinged is when the newest ping was asked for; the server has answered it when something was read after that.
	pinged time.Time
}

// check looks at the silence since lastRead. again is when to check next.
func (l *liveness) check(now, lastRead time.Time) (ping, dead bool, again time.Duration) {
	silence := now.Sub(lastRead)
	if silence < l.interval {
		return false, false, l.interval - silence
	}
	if !l.pinged.After(lastRead) {
		l.pinged = now
		return true, false, min(l.interval, l.timeout)
	}
	left := l.timeout - now.Sub(l.pinged)
	if left <= 0 {
		return false, true, 0
	}
	return false, false, min(l.interval, left)
}
