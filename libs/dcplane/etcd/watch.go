package etcd

import (
	"sync"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/internal/engine"
)

// translator makes an observation of an event; false when there is nothing in it for the cache.
type translator func(e *mvccpb.Event) (dcplane.Observation, bool)

// watch implements engine.Watch.
type watch struct {
	feed      *feed
	id        int64
	translate translator
	confirmed chan struct{} // closed when the server has made it
	done      chan struct{} // closed when it ended by itself

	mu       sync.Mutex
	stopped  bool
	err      error
	follower engine.Follower
	early    []dcplane.Observation // seen before Follow, which comes right after Sync
}

// take delivers events; none are a sign of life.
func (w *watch) take(events []*mvccpb.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	for _, e := range events {
		o, ok := w.translate(e)
		switch {
		case !ok:
		case w.follower == nil:
			w.early = append(w.early, o)
		default:
			w.follower.Observe(o)
		}
	}
	if w.follower != nil {
		w.follower.Contact()
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

// finish ends the watch from the other side.
func (w *watch) finish(err error) {
	w.mu.Lock()
	w.err = err
	w.mu.Unlock()
	close(w.done)
}

func (w *watch) reason() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Done implements engine.Watch.
func (w *watch) Done() <-chan struct{} { return w.done }

// Stop implements engine.Watch.
func (w *watch) Stop() {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	w.feed.forget(w)
}
