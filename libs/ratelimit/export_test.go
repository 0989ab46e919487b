package ratelimit

import "context"

// Report does what the background does every 100 ms, for tests whose time is their own.
func (l *Limiter) Report(ctx context.Context) { l.report(ctx) }

// Sweep forgets all idle keys and says how many are left.
func (l *Limiter) Sweep() (keys int) {
	for _, s := range l.tables() {
		for i := range shards {
			keys = s.sweep(l.cfg.Now().UnixNano(), i)
		}
	}
	return keys
}
