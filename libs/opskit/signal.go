package opskit

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// SignalError is the cancellation cause of a context of NotifyContext.
type SignalError struct{ Signal os.Signal }

// Error names the signal.
func (e *SignalError) Error() string { return fmt.Sprintf("received signal %s", e.Signal) }

type forceKey struct{}

// NotifyContext returns a context that is cancelled with a *SignalError cause by
// the first of the given signals (SIGINT and SIGTERM when none is given). A
// second signal makes Run give up waiting and return ErrForced. The returned
// function restores the default signal behaviour and ends the helper's
// goroutine; call it when Run has returned.
func NotifyContext(parent context.Context, signals ...os.Signal) (context.Context, func()) {
	if len(signals) == 0 {
		signals = []os.Signal{os.Interrupt, syscall.SIGTERM}
	}
	ctx, cancel := context.WithCancelCause(parent)
	force := make(chan struct{})
	received := make(chan os.Signal, 2)
	quit := make(chan struct{})
	done := make(chan struct{})
	signal.Notify(received, signals...)

	go func() {
		defer close(done)
		for count := 0; count < 2; count++ {
			select {
			case s := <-received:
				if count == 0 {
					cancel(&SignalError{Signal: s})
				} else {
					close(force)
				}
			case <-quit:
				return
			}
		}
	}()

	var once sync.Once
	stop := func() {
		once.Do(func() {
			signal.Stop(received)
			close(quit)
			<-done
			cancel(context.Canceled)
		})
	}
	return context.WithValue(ctx, forceKey{}, (<-chan struct{})(force)), stop
}

// forced returns the channel that a second signal closes; nil, which blocks for
// ever, when ctx does not come from NotifyContext.
func forced(ctx context.Context) <-chan struct{} {
	ch, _ := ctx.Value(forceKey{}).(<-chan struct{})
	return ch
}
