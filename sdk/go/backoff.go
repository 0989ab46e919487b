package parley

import "time"

// steady is how long a connection must last for the next failure to count as the first one again.
const steady = 10 * time.Second

// backoff spreads attempts: first min plus up to min at random, then the random part doubles until the sum reaches max.
// Clients that lost the same server at the same moment come back spread over all of it.
type backoff struct {
	min, max time.Duration
	failures int
}

// next returns the wait before the next attempt; random is in [0, 1).
func (b *backoff) next(random float64) time.Duration {
	spread := b.max
	if b.failures < 32 && b.min<<b.failures < b.max && b.min<<b.failures > 0 {
		spread = b.min << b.failures
	}
	b.failures++
	return min(b.max, b.min+time.Duration(random*float64(spread)))
}

// lasted tells how long the connection that just ended had been open.
func (b *backoff) lasted(d time.Duration) {
	if d >= steady {
		b.failures = 0
	}
}

// retryDelay is the wait before a refused request is sent again: from 50 ms, doubled with each attempt up to 5 s, half of
// it at random, and never less than what the server asks for.
func retryDelay(attempts int, hint time.Duration, random float64) time.Duration {
	d := 5 * time.Second
	if attempts < 7 {
		d = 50 * time.Millisecond << max(attempts, 0)
	}
	return max(hint, d/2+time.Duration(random*float64(d/2)))
}
