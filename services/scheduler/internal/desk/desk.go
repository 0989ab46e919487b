// Package desk takes calls about schedules to whoever has the schedule book: this node's own actor, or that of another node over a
// Link.
//
//	find the holder ─► here: the book │ elsewhere: Link ─► wait ── answer ──► done
//	      ▲                                                   │
//	      └──────────── pause ◄── nobody, moved, down, silent ┘
//
// A call may reach the book several times, so calls that do something carry what they are recognised by. A Desk is safe for
// concurrent use; who calls it bounds how many calls are open, and MaxForwarded bounds those of other nodes.
package desk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/actorkit"
	schedulerv1 "github.com/parley-rt/parley/libs/protocol/scheduler/v1"
	"github.com/parley-rt/parley/services/scheduler/internal/book"
)

const (
	// silenceAfter is how long the holder may take before it is looked for anew.
	silenceAfter = 2 * time.Second
	// pause before another attempt, half as much more or less.
	pause = 50 * time.Millisecond
	// MaxForwarded calls of other nodes are open at a time; more are refused.
	MaxForwarded = 1024
)

var (
	// ErrNobody says that no node was found that has the book: nothing was done.
	ErrNobody = errors.New("no scheduler node has the schedule book now")
	// ErrUnanswered says that the call left and no answer came: it may have been done, or may yet be.
	ErrUnanswered = errors.New("the schedule book did not answer in time")
)

// Config of a Desk. All is required.
type Config struct {
	// Holder tells which node has the book, as far as this one knows; false: nobody.
	Holder func() (node string, ok bool)
	// Here hands a request to this node's own book and never blocks; false: it does not have it.
	Here func(*book.Request) bool
	// Self is this node's name.
	Self string
	// Send queues a frame for another node and never blocks.
	Send func(node string, f actorkit.Frame) error
}

// Desk is described at the package.
type Desk struct {
	cfg      Config
	requests atomic.Uint64

	mu      sync.Mutex
	waiting map[uint64]waiter
	// forwarded calls of other nodes that are open.
	forwarded atomic.Int64
}

type waiter struct {
	node  string
	reply chan *schedulerv1.Answer // nil: the Link went down
}

// New returns a Desk.
func New(cfg Config) *Desk { return &Desk{cfg: cfg, waiting: make(map[uint64]waiter)} }

// Do has a call carried out and returns the book's answer, which may be a problem but none of MOVED and UNAVAILABLE. Errors:
// ErrNobody, ErrUnanswered.
func (d *Desk) Do(ctx context.Context, call *schedulerv1.Call) (*schedulerv1.Answer, error) {
	open := false
	for {
		answer, left := d.attempt(ctx, call)
		open = open || left && answer == nil
		if answer != nil && answer.Problem != schedulerv1.Problem_PROBLEM_MOVED && answer.Problem != schedulerv1.Problem_PROBLEM_UNAVAILABLE {
			return answer, nil
		}
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			err := ErrNobody
			if open {
				err = ErrUnanswered
			}
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil, errors.Join(err, ctx.Err())
			}
			return nil, err
		}
	}
}

// attempt asks once. left: the call may have reached a book.
func (d *Desk) attempt(ctx context.Context, call *schedulerv1.Call) (answer *schedulerv1.Answer, left bool) {
	reply := make(chan *schedulerv1.Answer, 1)
	if !d.cfg.Here(&book.Request{Call: call, Answer: func(a *schedulerv1.Answer) { reply <- a }}) {
		number, ok := d.forward(call, reply)
		if !ok {
			return nil, false
		}
		defer d.forget(number)
	}
	silence := time.NewTimer(silenceAfter)
	defer silence.Stop()
	select {
	case answer = <-reply:
	case <-silence.C:
	case <-ctx.Done():
	}
	return answer, true
}

// forward sends a call to the node that has the book.
func (d *Desk) forward(call *schedulerv1.Call, reply chan *schedulerv1.Answer) (uint64, bool) {
	node, ok := d.cfg.Holder()
	if !ok || node == d.cfg.Self {
		return 0, false
	}
	number := d.requests.Add(1)
	body, err := proto.Marshal(&schedulerv1.Frame{Request: number, Kind: &schedulerv1.Frame_Call{Call: call}})
	if err != nil {
		return 0, false
	}
	d.mu.Lock()
	d.waiting[number] = waiter{node, reply}
	d.mu.Unlock()
	if err := d.cfg.Send(node, actorkit.Frame{Body: body}); err != nil {
		d.forget(number)
		return 0, false
	}
	return number, true
}

func (d *Desk) forget(number uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.waiting, number)
}

// Handle takes a frame of another scheduler node. It never blocks.
func (d *Desk) Handle(from string, f actorkit.Frame) error {
	frame := new(schedulerv1.Frame)
	if err := proto.Unmarshal(f.Body, frame); err != nil {
		return fmt.Errorf("decode frame of a scheduler node: %w", err)
	}
	switch k := frame.Kind.(type) {
	case *schedulerv1.Frame_Answer:
		d.mu.Lock()
		w, ok := d.waiting[frame.Request]
		if ok = ok && w.node == from; ok {
			delete(d.waiting, frame.Request)
		}
		d.mu.Unlock()
		if ok {
			w.reply <- k.Answer
		}
	case *schedulerv1.Frame_Call:
		d.take(from, frame.Request, k.Call)
	}
	return nil
}

// take has a call of another node carried out here.
func (d *Desk) take(from string, number uint64, call *schedulerv1.Call) {
	answer := func(a *schedulerv1.Answer) {
		body, err := proto.Marshal(&schedulerv1.Frame{Request: number, Kind: &schedulerv1.Frame_Answer{Answer: a}})
		if err == nil {
			_ = d.cfg.Send(from, actorkit.Frame{Body: body}) // who asked asks again
		}
	}
	if d.forwarded.Add(1) > MaxForwarded {
		d.forwarded.Add(-1)
		answer(&schedulerv1.Answer{Problem: schedulerv1.Problem_PROBLEM_UNAVAILABLE})
		return
	}
	// A book that ends before it has answered gives the place back all the same.
	done := sync.OnceFunc(func() { d.forwarded.Add(-1) })
	expired := time.AfterFunc(2*silenceAfter, done)
	if !d.cfg.Here(&book.Request{Call: call, Answer: func(a *schedulerv1.Answer) {
		expired.Stop()
		done()
		answer(a)
	}}) {
		expired.Stop()
		done()
		answer(&schedulerv1.Answer{Problem: schedulerv1.Problem_PROBLEM_MOVED})
	}
}

// LinkDown says that what was on its way to a node, or back, is lost. It never blocks.
func (d *Desk) LinkDown(node string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for number, w := range d.waiting {
		if w.node == node {
			delete(d.waiting, number)
			w.reply <- nil
		}
	}
}
