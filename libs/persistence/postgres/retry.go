package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// retry decides how often a batch is tried. It goes on as long as anybody waits for the answer, unless it is certain that
// nothing was written and trying again is no use.
type retry struct {
	b        *Backend
	ctx      context.Context // of a caller that waits alone; else the backend's
	requests []*request
	tries    int
	pause    time.Duration
	giveUp   bool
	// doubt: an attempt got no answer, so the batch may be stored. It stays until one has got an answer.
	doubt bool
	err   error
}

func (b *Backend) newRetry(requests []*request) *retry {
	return &retry{b: b, ctx: b.lifetime, requests: requests}
}

// next waits until it is time for another attempt; false: give the batch up, err says why.
func (r *retry) next() bool {
	if r.giveUp {
		return false
	}
	if err := r.ctx.Err(); err != nil {
		switch {
		case r.b.lanes.givenUp() && !r.doubt:
			r.err = persistence.ErrClosed
		case r.err == nil:
			r.err = err
		}
		return false
	}
	if r.tries > 0 {
		if !r.wanted() {
			return false
		}
		pause := time.Duration(rand.Int64N(int64(r.pause) + 1)) // full jitter
		select {
		case <-time.After(pause):
		case <-r.b.dropping:
			return false
		case <-r.ctx.Done():
			return false
		}
	}
	r.tries++
	return true
}

// wanted tells whether somebody waits still.
func (r *retry) wanted() bool {
	for _, q := range r.requests {
		if !q.gone() {
			return true
		}
	}
	return len(r.requests) == 0
}

// timeout is that of the attempt that begins now.
func (r *retry) timeout() time.Duration {
	return min(firstAttempt<<min(r.tries-1, 8), lastAttempt)
}

// failed takes the error of an attempt; true: the connection is of no use any more.
func (r *retry) failed(err error) (disconnect bool) {
	r.err = err
	r.pause = min(max(r.pause*2, firstPause), lastPause)
	count := true
	switch notSent := errors.Is(err, errNotSent); {
	case notSent:
		disconnect = true
	case errors.Is(err, errDoubtful):
		r.doubt, count = true, false
		r.pause = firstPause
	default:
		switch judge(err) {
		case unknown:
			r.doubt, disconnect = true, true
		case elsewhere:
			disconnect = true
		case again:
			count = false
		case poison:
			// It held the lanes when it failed, so an attempt before it, had it been committed, would have made it lose
			// instead; its requests are looked at one by one.
			count, r.giveUp = false, true
		case refused:
			r.giveUp = !r.doubt
		}
	}
	if r.doubt {
		r.b.metrics.resubmitted.Add(r.b.lifetime, 1)
	}
	if count && r.b.tripped(err) && !r.doubt {
		r.giveUp = true
	}
	if r.b.breaker.open() && !r.doubt {
		r.giveUp = true
	}
	if r.b.lanes.givenUp() {
		r.giveUp = true
		if !r.doubt {
			r.err = persistence.ErrClosed
		}
	}
	return disconnect
}
