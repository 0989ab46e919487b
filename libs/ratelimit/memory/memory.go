// Package memory keeps within a process what the nodes in it have used together. It is the reference of what a store does.
package memory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/parley-rt/parley/libs/ratelimit"
)

// Store implements ratelimit.Store. It forgets a key once everything is regained and nobody uses it.
type Store struct {
	now  func() time.Time
	mu   sync.Mutex
	keys map[string]*key
	next int // keys that make it look for those to forget
}

type key struct {
	full  [2]time.Time
	nodes map[string]time.Time
}

// New returns an empty store. now tells its time; nil: time.Now.
func New(now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	return &Store{now: now, keys: map[string]*key{}, next: 1024}
}

// Sync implements ratelimit.Store.
func (s *Store) Sync(ctx context.Context, node string, reports []ratelimit.Report) ([]ratelimit.View, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ratelimit.ErrAway, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	views := make([]ratelimit.View, len(reports))
	for i, r := range reports {
		k := s.key(now, r.Key)
		k.nodes[node] = now
		for j, used := range r.Used {
			at := later(now, k.full[j]).Add(used)
			if most := now.Add(r.Most[j]); at.After(most) {
				at = most
			}
			k.full[j], views[i].Ahead[j] = at, at.Sub(now)
		}
		for n, seen := range k.nodes {
			if now.Sub(seen) >= ratelimit.Active {
				delete(k.nodes, n)
			}
		}
		views[i].Nodes = len(k.nodes)
	}
	return views, nil
}

// Take implements ratelimit.Store.
func (s *Store) Take(ctx context.Context, name string, costs, depths [2]time.Duration) (after time.Duration, ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return 0, false, fmt.Errorf("%w: %w", ratelimit.ErrAway, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	k := s.key(now, name)
	for j, cost := range costs {
		if cost > 0 {
			after = max(after, later(now, k.full[j]).Add(min(cost, depths[j])).Sub(now)-depths[j])
		}
	}
	if after > 0 {
		return after, false, nil
	}
	for j, cost := range costs {
		k.full[j] = later(now, k.full[j]).Add(cost)
	}
	return 0, true, nil
}

func (s *Store) key(now time.Time, name string) *key {
	k := s.keys[name]
	if k == nil {
		if len(s.keys) >= s.next {
			s.forget(now)
			s.next = 2*len(s.keys) + 1024
		}
		k = &key{nodes: map[string]time.Time{}}
		s.keys[name] = k
	}
	return k
}

func (s *Store) forget(now time.Time) {
	for name, k := range s.keys {
		used := k.full[0].After(now) || k.full[1].After(now)
		for _, seen := range k.nodes {
			used = used || now.Sub(seen) < ratelimit.Active
		}
		if !used {
			delete(s.keys, name)
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Ping implements ratelimit.Store.
func (s *Store) Ping(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ratelimit.ErrAway, err)
	}
	return nil
}

// Close implements ratelimit.Store.
func (s *Store) Close() error { return nil }
