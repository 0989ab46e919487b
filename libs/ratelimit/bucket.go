package ratelimit

import "time"

// bucket is the state of the generic cell rate algorithm: when all that was taken will have been regained, in nanoseconds of the
// clock that the caller uses throughout. The zero value is full.
//
// A share s of a limit is the same bucket in which everything costs 1/s: it holds s·burst and regains s·rate, and how far ahead
// of now it may be does not depend on s. So a bucket keeps its meaning when its share changes.
type bucket struct{ tat int64 }

// wait is how long until n may be taken; 0: now. What is more than the whole burst passes when nothing is taken, and leaves a
// debt: it would never pass otherwise.
func (b *bucket) wait(now int64, r Rate, n, share float64) int64 {
	if r.Off() || n == 0 {
		return 0
	}
	b.tat = min(b.tat, now+r.debt()) // else the clock went back
	depth := r.depth()
	return max(0, max(b.tat-now, 0)+min(int64(float64(r.cost(n))/share), depth)-depth)
}

// take takes n, whether it may be or not.
func (b *bucket) take(now int64, r Rate, n, share float64) {
	if !r.Off() {
		b.tat = min(max(b.tat, now)+int64(float64(r.cost(n))/share), now+r.debt())
	}
}

// Meter counts one key that nobody else counts. The zero value has used nothing. For one goroutine at a time.
type Meter struct{ uses [2]bucket }

// Take takes c and says ok, or takes nothing and says after how long it will pass if nothing else is taken until then.
func (m *Meter) Take(now time.Time, l Limit, c Cost) (after time.Duration, ok bool) {
	if after = m.Wait(now, l, c); after > 0 {
		return after, false
	}
	at, rates, amounts := now.UnixNano(), l.rates(), c.amounts()
	for i := range m.uses {
		m.uses[i].take(at, rates[i], amounts[i], 1)
	}
	return 0, true
}

// Wait says after how long c would pass; 0: now.
func (m *Meter) Wait(now time.Time, l Limit, c Cost) (after time.Duration) {
	at, rates, amounts := now.UnixNano(), l.rates(), c.amounts()
	for i := range m.uses {
		after = max(after, time.Duration(m.uses[i].wait(at, rates[i], amounts[i], 1)))
	}
	return after
}
