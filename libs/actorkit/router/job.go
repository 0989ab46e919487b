package router

import (
	"context"
	"sync/atomic"
)

// Job is a message as the actors of a Pool get it.
type Job[M, R any] struct {
	// Message is what was asked.
	Message M

	ctx      context.Context
	answered atomic.Bool
	answer   chan indexed[R]
	settle   func(failed bool)
}

// Context ends when nobody waits for the answer any more.
func (j *Job[M, R]) Context() context.Context { return j.ctx }

// Reply answers, from any goroutine; the first time counts. Until then the job is one of those that the routee may hold, also when
// nobody waits for it.
func (j *Job[M, R]) Reply(reply R, err error) {
	if j.answered.CompareAndSwap(false, true) {
		j.settle(err != nil) // first: who has the answer may ask again
		j.answer <- indexed[R]{reply: reply, err: err}
	}
}
