package ratelimit

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// run reports what is in use and looks for a store that is away.
func (l *Limiter) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	due := time.Now().Add(time.Hour)
	arm := func(at time.Time) {
		if at.Before(due) {
			due = at
			timer.Reset(time.Until(at))
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.news:
			if l.store == nil {
				arm(l.swept.Add(sweepEvery))
				continue
			}
			wait := l.cfg.Every
			switch {
			case l.away.Load():
				wait = l.cfg.RetryEvery
			case l.urgent.Load():
				wait = l.cfg.Soon
			}
			arm(l.last.Add(wait))
		case <-timer.C:
			due = time.Now().Add(time.Hour)
			l.round(ctx, arm)
		}
	}
}

// round does what is due, and has arm tell when to come back.
func (l *Limiter) round(ctx context.Context, arm func(time.Time)) {
	if l.store != nil {
		l.urgent.Store(false)
		if l.away.Load() {
			l.look(ctx)
		}
		more := l.away.Load()
		if !more {
			more = l.report(ctx)
		}
		l.last = time.Now()
		if l.away.Load() {
			arm(l.last.Add(l.cfg.RetryEvery))
		} else if more {
			arm(l.last.Add(l.cfg.Every))
		}
	}
	if since := time.Since(l.swept); since < sweepEvery {
		arm(l.swept.Add(sweepEvery))
		return
	}
	keys := 0
	for _, s := range l.tables() {
		keys += s.sweep(l.cfg.Now().UnixNano(), l.next)
	}
	l.next, l.swept = (l.next+1)%shards, time.Now()
	if keys > 0 {
		arm(l.swept.Add(sweepEvery))
	}
}

// tables are those of all scopes that have one.
func (l *Limiter) tables() []*Shared {
	all := make([]*Shared, 0, len(l.shared)+len(l.direct))
	all = append(all, l.shared...)
	for _, d := range l.direct {
		all = append(all, d.own)
	}
	return all
}

// look asks whether the store is back.
func (l *Limiter) look(ctx context.Context) {
	asking, cancel := context.WithTimeout(ctx, l.cfg.SyncWithin)
	defer cancel()
	if err := l.store.Ping(asking); err != nil {
		l.cfg.Logger.Debug("rate limit store is still away", slog.Any("err", err))
		return
	}
	l.misses.Store(0)
	if l.away.Swap(false) && l.lost.Load() > 0 {
		l.cfg.Logger.Info("rate limit store is back")
	}
}

// report tells the store what was used and takes its view. more: something was left, or may work the next time.
func (l *Limiter) report(ctx context.Context) (more bool) {
	for {
		l.flights = l.flights[:0]
		now := l.cfg.Now().UnixNano()
		for _, s := range l.shared {
			l.flights = s.collect(now, l.flights, syncAtOnce)
		}
		if len(l.flights) == 0 {
			return false
		}
		if !l.fly(ctx, l.flights) {
			return true
		}
		if len(l.flights) < syncAtOnce {
			return false
		}
	}
}

// fly carries reports to the store and views back.
func (l *Limiter) fly(ctx context.Context, flights []flight) (ok bool) {
	reports := make([]Report, len(flights))
	for i, f := range flights {
		reports[i] = f.report
	}
	asking, cancel := context.WithTimeout(ctx, l.cfg.SyncWithin)
	defer cancel()
	sent := l.cfg.Now().UnixNano()
	views, err := l.store.Sync(asking, l.cfg.Node, reports)
	now := l.cfg.Now().UnixNano()
	for i, v := range views {
		flights[i].landed(sent, now, v)
	}
	l.synced.Add(uint64(len(views)))
	if err != nil {
		for _, f := range flights[len(views):] {
			f.lost()
		}
		if ctx.Err() == nil && !errors.Is(err, ErrLate) { // what came too late was not done, and will be the next time
			l.goneAway(err)
		}
		return false
	}
	return true
}
