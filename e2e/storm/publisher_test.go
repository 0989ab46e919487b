package storm

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-rt/parley/sdk/go"
)

// publisher is one who stays: it publishes at a steady pace, whatever the answers do.
type publisher struct {
	client *parley.Client
	room   *parley.Room
	lost   atomic.Int64 // connections

	slowest time.Duration
	last    uint64
	failed  error
}

func newPublisher(ctx context.Context, tb testing.TB, url, room string) (*publisher, error) {
	tb.Helper()
	p := &publisher{}
	var err error
	p.client, err = parley.Dial(ctx, url, parley.Config{OnState: func(c parley.StateChange) {
		if c.State == parley.Connecting && c.Err != nil {
			p.lost.Add(1)
		}
	}})
	if err != nil {
		return nil, err
	}
	tb.Cleanup(func() { _ = p.client.Close(context.WithoutCancel(ctx)) })
	if p.room, err = p.client.Join(ctx, room, parley.JoinOptions{}); err != nil {
		return nil, err
	}
	go func() { // it reads what it is sent, as clients do
		for _, err := range p.room.Messages(ctx) {
			if err != nil {
				return
			}
		}
	}()
	return p, nil
}

// run publishes until ctx ends; each publish is timed from when it was due.
func (p *publisher) run(ctx context.Context, offset time.Duration, now *atomic.Pointer[phase]) {
	var mu sync.Mutex
	var open sync.WaitGroup
	defer open.Wait()
	for due := time.Now().Add(offset); ; due = due.Add(*pace) {
		sleep(ctx, time.Until(due))
		if ctx.Err() != nil {
			return
		}
		of := now.Load()
		of.late.add(time.Since(due))
		pending, err := p.room.PublishAsync(context.WithoutCancel(ctx), "a message of ordinary length, as people write them", parley.PublishOptions{})
		if err != nil {
			p.failed = err
			return
		}
		open.Go(func() {
			ack, err := pending.Wait()
			took := time.Since(due)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				p.failed = err
				return
			}
			p.slowest, p.last = max(p.slowest, took), max(p.last, ack.Seq)
			of.took.add(took)
		})
	}
}
