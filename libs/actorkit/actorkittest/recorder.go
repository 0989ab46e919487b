// Package actorkittest helps to test what is built on actorkit: nodes on loopback, a recording handler, probe actors, and
// peers that refuse or never answer. Nothing in it sleeps: waiting ends with a signal or fails the test.
package actorkittest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/parley-rt/parley/libs/actorkit"
)

// Patience is how long the wait functions wait before they fail the test.
const Patience = 30 * time.Second

// Received is a frame with its sender.
type Received struct {
	From  actorkit.Peer
	Frame actorkit.Frame
}

// Recorder is a Handler that keeps everything in order. The zero value is ready. Safe for concurrent use.
type Recorder struct {
	mu      sync.Mutex
	frames  []Received
	events  []actorkit.LinkEvent
	changed chan struct{}
	block   *blockade
	hook    func(Received)
}

// HandleFrame records the frame, and waits while the recorder is blocked.
func (r *Recorder) HandleFrame(from actorkit.Peer, f actorkit.Frame) {
	r.mu.Lock()
	block, hook := r.block, r.hook
	r.mu.Unlock()
	if block != nil {
		block.once.Do(func() { close(block.met) })
		<-block.open
	}
	got := Received{From: from, Frame: f}
	if hook != nil {
		hook(got)
	}
	r.record(func() { r.frames = append(r.frames, got) })
}

// HandleLink records the event.
func (r *Recorder) HandleLink(e actorkit.LinkEvent) {
	r.record(func() { r.events = append(r.events, e) })
}

func (r *Recorder) record(add func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	add()
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// OnFrame has f called for every frame before it is recorded; f may panic.
func (r *Recorder) OnFrame(f func(Received)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hook = f
}

// Block makes HandleFrame wait until release is called, which may be called again. blocked is closed when the first frame
// waits.
func (r *Recorder) Block() (blocked <-chan struct{}, release func()) {
	b := &blockade{open: make(chan struct{}), met: make(chan struct{})}
	r.mu.Lock()
	r.block = b
	r.mu.Unlock()
	return b.met, sync.OnceFunc(func() {
		r.mu.Lock()
		r.block = nil
		r.mu.Unlock()
		close(b.open)
	})
}

type blockade struct {
	open, met chan struct{}
	once      sync.Once
}

// Frames returns the frames so far.
func (r *Recorder) Frames() []Received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.frames)
}

// Events returns the link events so far.
func (r *Recorder) Events() []actorkit.LinkEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// Wait waits until cond holds of what was recorded. cond must not keep or change the slices.
func (r *Recorder) Wait(t testing.TB, what string, cond func([]Received, []actorkit.LinkEvent) bool) {
	t.Helper()
	timeout := time.NewTimer(Patience)
	defer timeout.Stop()
	for {
		r.mu.Lock()
		if cond(r.frames, r.events) {
			r.mu.Unlock()
			return
		}
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed := r.changed
		r.mu.Unlock()
		select {
		case <-changed:
		case <-timeout.C:
			t.Fatalf("no %s within %v; %d frames, events %v", what, Patience, len(r.Frames()), r.Events())
		}
	}
}

// WaitFrames waits for n frames in total and returns all.
func (r *Recorder) WaitFrames(t testing.TB, n int) []Received {
	t.Helper()
	r.Wait(t, "frames", func(frames []Received, _ []actorkit.LinkEvent) bool { return len(frames) >= n })
	return r.Frames()
}

// WaitEvent waits for an event of that kind about that node, passing over the first skip of them.
func (r *Recorder) WaitEvent(t testing.TB, node string, kind actorkit.LinkEventKind, skip int) actorkit.LinkEvent {
	t.Helper()
	var found actorkit.LinkEvent
	r.Wait(t, kind.String()+" of "+node, func(_ []Received, events []actorkit.LinkEvent) bool {
		n := 0
		for _, e := range events {
			if e.Peer.Node == node && e.Kind == kind {
				if n == skip {
					found = e
					return true
				}
				n++
			}
		}
		return false
	})
	return found
}
