package ratelimit

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// Direct is a scope whose keys the store decides about.
type Direct struct {
	own    *Shared // decides with the store away
	costs  [2]Rate
	asked  [2]atomic.Uint64 // refused, allowed
	depths [2]time.Duration
}

func newDirect(own *Shared) *Direct {
	d := &Direct{own: own, costs: own.limit.rates()}
	for i, r := range d.costs {
		if !r.Off() {
			d.depths[i] = time.Duration(r.depth())
		}
	}
	return d
}

// Take takes c of key and says ok, or takes nothing and says after how long it will pass if nothing else is taken until then. It
// asks the store, and decides by itself when that does not answer within Config.AskWithin or was away a moment ago.
func (d *Direct) Take(ctx context.Context, key string, c Cost) (after time.Duration, ok bool) {
	l := d.own.l
	if d.own.limit.Off() {
		return 0, true
	}
	if l.store == nil || l.away.Load() {
		return d.own.Take(l.cfg.Now(), key, c)
	}
	var costs [2]time.Duration
	for i, n := range c.amounts() {
		if r := d.costs[i]; !r.Off() {
			costs[i] = time.Duration(r.cost(n))
		}
	}
	asking, cancel := context.WithTimeout(ctx, l.cfg.AskWithin)
	defer cancel()
	after, ok, err := l.store.Take(asking, d.own.scope+":"+key, costs, d.depths)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, ErrLate) { // else it is the caller who has no time
			l.missed(err)
		}
		return d.own.Take(l.cfg.Now(), key, c)
	}
	l.misses.Store(0)
	if ok {
		d.asked[1].Add(1)
	} else {
		d.asked[0].Add(1)
	}
	return after, ok
}

// Own is a scope whose keys nobody else counts: it limits and counts what is decided; the caller keeps a Meter for each key.
type Own struct {
	scope string
	limit Limit
	local [2]atomic.Uint64 // refused, allowed
}

// Off says that the scope limits nothing.
func (o *Own) Off() bool { return o.limit.Off() }

// Limit is the scope's.
func (o *Own) Limit() Limit { return o.limit }

// Take is Meter.Take with the scope's limit.
func (o *Own) Take(now time.Time, m *Meter, c Cost) (after time.Duration, ok bool) {
	return o.TakeOf(now, m, o.limit, c)
}

// TakeOf is Take with a limit that the key has of its own.
func (o *Own) TakeOf(now time.Time, m *Meter, l Limit, c Cost) (after time.Duration, ok bool) {
	if l.Off() {
		return 0, true
	}
	if after, ok = m.Take(now, l, c); ok {
		o.local[1].Add(1)
	} else {
		o.local[0].Add(1)
	}
	return after, ok
}

// Wait is Meter.Wait with the scope's limit.
func (o *Own) Wait(now time.Time, m *Meter, c Cost) (after time.Duration) {
	if o.limit.Off() {
		return 0
	}
	return m.Wait(now, o.limit, c)
}
