package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/internal/document"
	"github.com/parley-rt/parley/libs/dcplane/internal/engine"
)

// errReplaced means the bucket was made anew during a listing, so that its numbers cannot be placed in time.
var errReplaced = errors.New("bucket was replaced during the listing")

// Sync implements engine.Store.
func (s *store) Sync(ctx context.Context) (dcplane.Listing, engine.Watch, error) {
	var kv jetstream.KeyValue
	var created time.Time
	err := s.do(ctx, func(opened jetstream.KeyValue) (err error) {
		kv = opened
		created, err = s.identify(ctx, kv)
		return err
	})
	if err != nil {
		return dcplane.Listing{}, nil, err
	}
	generation := s.generationOf(created)
	w, err := s.watch(ctx, kv, generation)
	if err != nil {
		return dcplane.Listing{}, nil, fmt.Errorf("watch bucket %s: %w", s.cfg.Bucket, err)
	}
	listing, err := w.list(ctx)
	if err == nil {
		var still time.Time
		if still, err = s.identify(ctx, kv); err == nil && !still.Equal(created) {
			err = errReplaced
		}
	}
	if err != nil {
		w.Stop()
		return dcplane.Listing{}, nil, fmt.Errorf("list bucket %s: %w", s.cfg.Bucket, err)
	}
	return dcplane.Listing{Generation: generation, Observations: listing}, w, nil
}

// watch is one subscription to the bucket. Its pump runs from the start and ends when the client has closed the
// subscription: the client blocks on a watcher nobody reads.
type watch struct {
	store      *store
	generation uint64
	cancel     context.CancelFunc
	listed     chan []dcplane.Observation // the listing, once
	done       chan struct{}              // closed when the pump has ended

	mu       sync.Mutex
	stopped  bool
	follower engine.Follower
	early    []dcplane.Observation // seen between the listing and Follow
}

// watch opens a subscription that lives until Stop. ctx bounds only its creation.
func (s *store) watch(ctx context.Context, kv jetstream.KeyValue, generation uint64) (*watch, error) {
	life, cancel := context.WithCancel(context.Background())
	release := context.AfterFunc(ctx, cancel)
	watcher, err := kv.WatchAll(life)
	if err != nil || !release() {
		cancel()
		if err == nil {
			s.pumps.Go(func() {
				for range watcher.Updates() { // the client closes it once it has unsubscribed
				}
			})
			err = ctx.Err()
		}
		return nil, err
	}
	w := &watch{
		store: s, generation: generation, cancel: cancel,
		listed: make(chan []dcplane.Observation, 1), done: make(chan struct{}),
	}
	s.pumps.Go(func() { w.pump(watcher) })
	return w, nil
}

// pump reads the watcher until the client closes it: first the listing, which ends with a nil, then events.
func (w *watch) pump(watcher jetstream.KeyWatcher) {
	defer close(w.done)
	var listing []dcplane.Observation
	listed := false
	for entry := range watcher.Updates() {
		if entry == nil {
			listed = true
			w.listed <- listing
			continue
		}
		o, ok := w.store.observation(entry, w.generation)
		switch {
		case !ok:
		case listed:
			w.event(o)
		default:
			listing = append(listing, o)
		}
	}
}

func (w *watch) event(o dcplane.Observation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.stopped:
	case w.follower == nil:
		w.early = append(w.early, o)
	default:
		w.follower.Observe(o)
	}
}

func (w *watch) list(ctx context.Context) ([]dcplane.Observation, error) {
	select {
	case listing := <-w.listed:
		return listing, nil
	case <-w.done:
		return nil, errors.New("watch ended before the listing was complete")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Follow implements engine.Watch.
func (w *watch) Follow(f engine.Follower) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.early {
		f.Observe(o)
	}
	w.early, w.follower = nil, f
}

// Done implements engine.Watch.
func (w *watch) Done() <-chan struct{} { return w.done }

// Stop implements engine.Watch. It does not wait for the server to hear of it.
func (w *watch) Stop() {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	w.cancel()
}

// observation translates an entry; false when there is nothing in it for the cache.
func (s *store) observation(entry jetstream.KeyValueEntry, generation uint64) (dcplane.Observation, bool) {
	o := dcplane.Observation{Version: dcplane.Version{Generation: generation, Revision: entry.Revision()}}
	var err error
	if o.Key, err = document.DecodeKey(entry.Key()); err != nil {
		s.warn(entry, err)
		return o, false
	}
	if entry.Operation() != jetstream.KeyValuePut {
		o.Deleted = true
		return o, true
	}
	record, err := document.Decode(o.Key, entry.Value())
	if err != nil {
		s.warn(entry, err)
		return o, false
	}
	o.Node = record.Node
	return o, true
}
