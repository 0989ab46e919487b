package storm

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
		for range p.room.Messages(ctx) { //nolint:revive // nothing to do with it
		}
	}()
	return p, nil
}

// run publishes until ctx ends; each publish is timed from when it was due.
func (p *publisher) run(ctx context.Context, offset time.Duration, phase *atomic.Pointer[times]) {
	var mu sync.Mutex
	var open sync.WaitGroup
	defer open.Wait()
	for due := time.Now().Add(offset); ; due = due.Add(*pace) {
		sleep(ctx, time.Until(due))
		if ctx.Err() != nil {
			return
		}
		of := phase.Load()
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
			of.add(took)
		})
	}
}

// member is one of the herd.
type member struct {
	client   *parley.Client
	room     *parley.Room
	got      atomic.Int64
	seen     atomic.Uint64 // seq
	back     chan time.Time
	returned time.Duration
	id       string
	ended    chan struct{}
	problem  error
}

// gather connects the herd to the first gateway, a few at a time. It knows the second one's address, too.
func gather(ctx context.Context, tb testing.TB, first, second string) []*member {
	tb.Helper()
	members := make([]*member, *herd)
	errs := make(chan error, *herd)
	places := make(chan struct{}, 64)
	var all sync.WaitGroup
	for i := range members {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			var err error
			members[i], err = newMember(ctx, first, second, roomName(i%*stayed))
			errs <- err
		})
	}
	all.Wait()
	for range members {
		require.NoError(tb, <-errs)
	}
	tb.Cleanup(func() {
		var all sync.WaitGroup
		for _, m := range members {
			all.Go(func() { _ = m.client.Close(context.WithoutCancel(ctx)); <-m.ended })
		}
		all.Wait()
	})
	return members
}

func newMember(ctx context.Context, first, second, room string) (*member, error) {
	m := &member{back: make(chan time.Time, 16), ended: make(chan struct{})}
	sessions := 0
	var failed error
	client, err := parley.Dial(ctx, first+","+second, parley.Config{InOrder: true, OnSession: func(s parley.Session) {
		if sessions++; sessions > 1 {
			if !s.Resumed || s.MemberID != m.id {
				failed = fmt.Errorf("%s came back as %s", m.id, s.MemberID)
			}
			m.back <- time.Now()
		} else {
			m.id = s.MemberID
		}
	}})
	if err != nil {
		return nil, err
	}
	m.client = client
	if m.room, err = client.Join(ctx, room, parley.JoinOptions{}); err != nil {
		return nil, err
	}
	m.seen.Store(m.room.Cursor().Seq)
	go func() {
		defer close(m.ended)
		cursor := m.seen.Load()
		for message, err := range m.room.Messages(context.WithoutCancel(ctx)) {
			switch {
			case err != nil:
				m.problem = err
				return
			case failed != nil:
				m.problem = failed
				return
			case message.PrevSeq != cursor:
				m.problem = fmt.Errorf("%w: %d after %d", errRepeat, message.PrevSeq, cursor)
				return
			}
			cursor = message.Seq
			m.got.Add(1)
			m.seen.Store(cursor)
		}
	}()
	return m, nil
}

// awaitReturn waits for the next session after the storm began.
func (m *member) awaitReturn(ctx context.Context, begun time.Time) error {
	for {
		select {
		case at := <-m.back:
			if at.After(begun) {
				m.returned = at.Sub(begun)
				return nil
			}
		case <-m.ended:
			return fmt.Errorf("%s ended: %w", m.id, m.problem)
		case <-ctx.Done():
			return fmt.Errorf("%s did not come back: %w", m.id, ctx.Err())
		}
	}
}

// caughtUp waits until the member has read the room up to there.
func (m *member) caughtUp(ctx context.Context, seq uint64) error {
	for m.seen.Load() < seq {
		select {
		case <-m.ended:
			return fmt.Errorf("%s ended at %d of %d: %w", m.id, m.seen.Load(), seq, m.problem)
		case <-ctx.Done():
			return fmt.Errorf("%s is at %d of %d: %w", m.id, m.seen.Load(), seq, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// times are durations of something. Safe for concurrent use.
type times struct {
	mu   sync.Mutex
	list []time.Duration
}

func (t *times) add(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, d)
}

// at returns a quantile, 0 of nothing.
func (t *times) at(q float64) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.list) == 0 {
		return 0
	}
	slices.Sort(t.list)
	return t.list[min(len(t.list)-1, int(q*float64(len(t.list))))]
}

func (t *times) String() string {
	return fmt.Sprintf("p50 %s p99 %s max %s of %d", round(t.at(0.5)), round(t.at(0.99)), round(t.at(1)), len(t.list))
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
