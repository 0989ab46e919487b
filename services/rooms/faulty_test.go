package rooms

import (
	"context"
	"strings"
	"sync"

	"github.com/parley-rt/parley/libs/persistence"
)

// faulty is a backend whose calls can be made to fail, or to say that they failed.
type faulty struct {
	persistence.Backend

	mu sync.Mutex
	// onAppend wraps appends to room streams.
	onAppend  func(key persistence.StreamKey, store func() (uint64, error)) (uint64, error)
	headErr   error
	pollErr   error
	readBlock chan struct{}
}

func (f *faulty) set(change func(*faulty)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *faulty) Append(ctx context.Context, c persistence.Claim, expected uint64, events []persistence.Event) (uint64, error) {
	f.mu.Lock()
	hook := f.onAppend
	f.mu.Unlock()
	store := func() (uint64, error) { return f.Backend.Append(ctx, c, expected, events) }
	if hook == nil || !strings.HasPrefix(string(c.Key), "room/") {
		return store()
	}
	return hook(c.Key, store)
}

func (f *faulty) Head(ctx context.Context, key persistence.StreamKey) (persistence.Head, error) {
	f.mu.Lock()
	err := f.headErr
	f.mu.Unlock()
	if err != nil {
		return persistence.Head{}, err
	}
	return f.Backend.Head(ctx, key)
}

func (f *faulty) Takeovers(ctx context.Context, owner string, since persistence.Mark) ([]persistence.Takeover, persistence.Mark, error) {
	f.mu.Lock()
	err := f.pollErr
	f.mu.Unlock()
	if err != nil {
		return nil, since, err
	}
	return f.Backend.Takeovers(ctx, owner, since)
}

func (f *faulty) Read(ctx context.Context, key persistence.StreamKey, from uint64, limit int) ([]persistence.Event, error) {
	f.mu.Lock()
	block := f.readBlock
	f.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return f.Backend.Read(ctx, key, from, limit)
}
