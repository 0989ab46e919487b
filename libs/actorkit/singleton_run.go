package actorkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/persistence"
)

// Why a term ended, beside those that the journal gives.
var (
	errActorEnded = errors.New("the actor ended of itself")
	errNotStarted = errors.New("the actor did not start")
	errSlowStop   = errors.New("the actor takes too long to stop")
)

// run competes, and serves terms, until Stop.
func (s *Singleton) run() {
	defer close(s.done)
	defer s.metrics.unregister()
	pause := minSingletonPause
	for {
		term := s.compete()
		if term == nil {
			return
		}
		began := time.Now()
		err := s.serve(term)
		s.forgetLeader()
		if s.ctx.Err() != nil {
			return
		}
		// What the actor did itself it may do again; other nodes, which do not wait, try meanwhile.
		if !errors.Is(err, errActorEnded) && !errors.Is(err, errNotStarted) {
			pause = minSingletonPause
			continue
		}
		if time.Since(began) > maxSingletonPause {
			pause = minSingletonPause
		}
		s.sleep(jitter(pause))
		pause = min(2*pause, maxSingletonPause)
	}
}

// compete asks for the lease until it gets it. Nil: Stop was called.
func (s *Singleton) compete() *Term {
	away := false
	for s.ctx.Err() == nil {
		asked := time.Now()
		// Stop does not cut it short: a lease that was taken and not known of would have to expire.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.cfg.TTL/2)
		lease, err := s.leases.AcquireLease(ctx, s.cfg.Name, s.cfg.owner(), s.cfg.TTL)
		cancel()
		var held *persistence.LeaseHeldError
		switch {
		case err == nil && s.ctx.Err() == nil && s.until(asked).After(time.Now()):
			t := newTerm(context.WithoutCancel(s.ctx), lease, s.until(asked))
			s.setLeader(lease.Owner, lease.Epoch, asked, t)
			return t
		case err == nil:
			s.release(lease) // it came too late to be of use
			continue
		case errors.As(err, &held):
			s.setLeader(held.Held.Owner, held.Held.Epoch, asked, nil)
		case s.ctx.Err() == nil && !away:
			s.cfg.Logger.Warn("lease cannot be asked for", slog.String("singleton", s.cfg.Name), slog.Any("err", err))
		}
		away = held == nil
		s.sleep(jitter(s.cfg.TTL / asks))
	}
	return nil
}

// until is how long a lease that was asked for at that time may be counted on: the journal's time began later.
func (s *Singleton) until(asked time.Time) time.Time { return asked.Add(s.cfg.TTL - s.cfg.TTL/spares) }

// serve runs the actor for a term and returns why it is over.
func (s *Singleton) serve(t *Term) error {
	s.metrics.began(s.ctx)
	logger := s.cfg.Logger.With(slog.String("singleton", s.cfg.Name), slog.Uint64("epoch", t.Epoch()))
	logger.Info("term began")
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		s.renew(t)
	}()
	pid, err := s.spawn(t)
	if err == nil {
		s.current.Store(&running{term: t, pid: pid})
		err = s.await(t, pid)
		s.current.Store(nil)
		err = errors.Join(err, s.shutdown(t, pid))
	}
	lost := t.Err() != nil
	t.end(err)
	<-renewed
	if lost {
		err = context.Cause(t.ctx)
	}
	// Also a lease whose time is over by this node's clock, which may differ from the journal's. It does nothing to another's.
	s.release(t.lease)
	s.metrics.ended(s.ctx, err)
	if s.ctx.Err() == nil {
		logger.Warn("term is over", slog.Any("err", err))
	} else {
		logger.Info("term is over")
	}
	return err
}

func (s *Singleton) spawn(t *Term) (*actor.PID, error) {
	name := "singleton-" + encodeName(s.cfg.Name) + "-" + encodeName(s.cfg.Incarnation) + "-" + strconv.FormatUint(t.Epoch(), 10)
	ctx, cancel := context.WithCancelCause(t.ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.ctx, func() { cancel(ErrStopped) })()
	pid, err := s.sys.Spawn(ctx, name, s.actor(t), SpawnOptions()...)
	switch {
	case s.ctx.Err() != nil:
		err = errors.Join(ErrStopped, err)
	case err != nil && t.Err() == nil:
		err = fmt.Errorf("%w: %w", errNotStarted, err)
	}
	if err != nil && pid != nil {
		err = errors.Join(err, s.shutdown(t, pid))
	}
	return pid, err
}

// await returns when the term is over, Stop was called or the actor has ended.
func (s *Singleton) await(t *Term, pid *actor.PID) error {
	// GoAkt tells no watcher of an actor whose PostStop fails, so the actor is looked at.
	look := time.NewTicker(s.cfg.TTL / renewals)
	defer look.Stop()
	for {
		select {
		case <-t.ctx.Done():
			return context.Cause(t.ctx)
		case <-s.ctx.Done():
			return ErrStopped
		case <-look.C:
			if !pid.IsRunning() {
				return errActorEnded
			}
		}
	}
}

// shutdown stops the actor. It returns when PostStop has: no two actors of a node run at once. Meanwhile the lease is renewed, for as
// long as PostStop may take.
func (s *Singleton) shutdown(t *Term, pid *actor.PID) error {
	defer time.AfterFunc(s.cfg.StopTimeout, func() { t.end(errSlowStop) }).Stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.cfg.StopTimeout)
	defer cancel()
	if err := pid.Shutdown(ctx); err != nil {
		return fmt.Errorf("stop the actor: %w", err)
	}
	return nil
}

// renew renews the lease until the term is over.
func (s *Singleton) renew(t *Term) {
	every := s.cfg.TTL / renewals
	next := time.NewTimer(every)
	defer next.Stop()
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-next.C:
		}
		asked := time.Now()
		ctx, cancel := context.WithTimeout(t.ctx, s.cfg.TTL)
		_, err := s.leases.RenewLease(ctx, t.lease, s.cfg.TTL)
		cancel()
		s.metrics.renewed(s.ctx, time.Since(asked), err)
		switch {
		case err == nil:
			t.extend(s.until(asked))
		case errors.Is(err, persistence.ErrLeaseLost):
			t.end(err)
		}
		next.Reset(max(every-time.Since(asked), every/renewals))
	}
}

// release gives a lease back, if the journal takes it in time; otherwise it expires.
func (s *Singleton) release(l persistence.Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.cfg.TTL)
	defer cancel()
	if err := s.leases.ReleaseLease(ctx, l); err != nil {
		s.cfg.Logger.Warn("lease was not released and has to expire", slog.String("singleton", s.cfg.Name), slog.Any("err", err))
	}
}

func (s *Singleton) sleep(d time.Duration) {
	select {
	case <-s.ctx.Done():
	case <-time.After(d):
	}
}

// jitter spreads what several nodes do, by a quarter.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(rand.Int64N(int64(d)/2+1))
}
