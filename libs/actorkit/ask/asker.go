package ask

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
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// MaxHops bounds how often a question follows Moved without a pause: two nodes that point at each other would otherwise be
// asked as fast as they answer.
const MaxHops = 3

// Config of an Asker. Zero durations mean the defaults named.
type Config struct {
	// Self is this node's name if it is a rooms node; empty: it is none.
	Self string
	// Send queues a frame for another node and never blocks: actorkit's errors.
	Send func(node string, f actorkit.Frame) error
	// Local hands a frame to this node's own door and never blocks. Its answer comes like any other. Required with Self.
	Local func(f actorkit.Frame) error
	// Nodes names the live rooms nodes of the datacenter, this one included if it is one, in the order in which they are to be
	// asked about a room.
	Nodes func(room string) []string
	// Blind tells that a node cannot ask the journal: it can start no room, and is asked last. Nil: none is.
	Blind func(node string) bool
	// SilenceAfter is how long a node may take to answer before another is asked. Default 2 s.
	SilenceAfter time.Duration
	// Within is how long a question may take in all; a context that ends earlier ends it earlier. Default 5 s.
	Within time.Duration
	// RetryFirst is the first pause after which everybody is asked anew; it doubles up to eight times that. Default 50 ms.
	RetryFirst time.Duration
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		value *time.Duration
		or    time.Duration
	}{{&c.SilenceAfter, 2 * time.Second}, {&c.Within, 5 * time.Second}, {&c.RetryFirst, 50 * time.Millisecond}} {
		if *d.value <= 0 {
			*d.value = d.or
		}
	}
	return c
}

// Asker asks rooms. Feed it with Answer and LinkDown.
type Asker struct {
	cfg Config
	// connection tells the questions of this life from those of another one under the same node name.
	connection uint64
	requests   atomic.Uint64

	mu      sync.Mutex
	waiting map[uint64]*attempt

	owners *owners
}

// attempt is one sending of a question.
type attempt struct {
	node string
	// reply gets one value: an answer, or nil when the Link to node went down.
	reply chan *roomv1.Frame
}

// New returns an Asker.
func New(cfg Config) *Asker {
	return &Asker{
		cfg: cfg.withDefaults(),
		// Never 0: that is a gateway's hub.
		connection: rand.Uint64() | 1,
		waiting:    make(map[uint64]*attempt),
		owners:     newOwners(maxOwners),
	}
}

// Ask asks the writer of frame.RoomId and returns its answer, which is never Moved or Refused. The frame is the Asker's
// until then. Errors: *RefusedError, ErrUnreachable, ErrUnanswered, the last two possibly joined with the last passing
// refusal or ctx's error.
func (a *Asker) Ask(ctx context.Context, frame *roomv1.Frame) (*roomv1.Frame, error) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Within)
	defer cancel()
	q := &question{asker: a, frame: frame}
	actorkit.InjectTrace(ctx, &q.trace)
	return q.run(ctx)
}

// Answer takes a frame that came from a node, or from this node's own rooms, and says whether it was sent to this Asker. One
// that answers no open attempt is dropped. It never blocks.
func (a *Asker) Answer(from string, frame *roomv1.Frame) bool {
	if frame.GetConnection() != a.connection {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	t, ok := a.waiting[frame.GetRequest()]
	if ok && t.node == from {
		delete(a.waiting, frame.GetRequest())
		t.reply <- frame
	}
	return true
}

// LinkDown says that what was on its way to a node, or back, is lost. It never blocks.
func (a *Asker) LinkDown(node string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for number, t := range a.waiting {
		if t.node == node {
			delete(a.waiting, number)
			t.reply <- nil
		}
	}
}

// send sends one attempt. The error is that of the Link; nothing waits then.
func (a *Asker) send(node string, frame *roomv1.Frame, trace actorkit.Frame) (uint64, *attempt, error) {
	number := a.requests.Add(1)
	frame.Connection, frame.Request = a.connection, number
	body, err := proto.Marshal(frame)
	if err != nil {
		return 0, nil, fmt.Errorf("encode frame of room %s: %w", frame.GetRoomId(), err)
	}
	trace.Body = body
	t := &attempt{node: node, reply: make(chan *roomv1.Frame, 1)}
	a.mu.Lock()
	a.waiting[number] = t
	a.mu.Unlock()
	if node == a.cfg.Self {
		err = a.cfg.Local(trace)
	} else {
		err = a.cfg.Send(node, trace)
	}
	if err != nil {
		a.forget(number)
		return 0, nil, err
	}
	return number, t, nil
}

func (a *Asker) forget(number uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, number)
}

// question is one Ask.
type question struct {
	asker *Asker
	frame *roomv1.Frame
	trace actorkit.Frame

	avoid []string
	hops  int
	tries int
	// open: an attempt left this node and its fate is not known.
	open    bool
	refusal *RefusedError
}

func (q *question) run(ctx context.Context) (*roomv1.Frame, error) {
	for {
		node, number, t, err := q.dispatch()
		switch {
		case errors.Is(err, actorkit.ErrFrameTooLarge):
			return nil, err
		case err != nil:
			if !q.pause(ctx, 0) {
				return nil, q.timeout(ctx)
			}
			continue
		}
		frame, ok := q.await(ctx, t)
		if !ok {
			q.open = true
			q.asker.forget(number)
			if ctx.Err() != nil {
				return nil, q.timeout(ctx)
			}
			q.avoid = append(q.avoid[:0], node)
			continue
		}
		answer, wait, err := q.judge(node, frame)
		if answer != nil || err != nil {
			return answer, err
		}
		if wait >= 0 && !q.pause(ctx, wait) {
			return nil, q.timeout(ctx)
		}
	}
}

// dispatch sends the question to the first node that takes it.
func (q *question) dispatch() (string, uint64, *attempt, error) {
	err := error(ErrUnreachable)
	for _, node := range q.asker.candidates(q.frame.GetRoomId(), q.avoid) {
		number, t, sendErr := q.asker.send(node, q.frame, q.trace)
		if sendErr == nil {
			return node, number, t, nil
		}
		err = sendErr
		if errors.Is(sendErr, actorkit.ErrLinkFull) {
			break // an owner that is behind is not replaced by another node
		}
	}
	return "", 0, nil, err
}

// await waits for the attempt's answer: false when the node is silent or gone, or time is up.
func (q *question) await(ctx context.Context, t *attempt) (*roomv1.Frame, bool) {
	silence := time.NewTimer(q.asker.cfg.SilenceAfter)
	defer silence.Stop()
	select {
	case frame := <-t.reply:
		return frame, frame != nil
	case <-silence.C:
		return nil, false
	case <-ctx.Done():
		return nil, false
	}
}

// judge looks at what a node said: the answer, a definite refusal, or for how long to pause before the next attempt; below
// 0: not at all.
func (q *question) judge(from string, frame *roomv1.Frame) (*roomv1.Frame, time.Duration, error) {
	a := q.asker
	switch k := frame.GetKind().(type) {
	case *roomv1.Frame_Moved:
		if q.hops++; q.hops > MaxHops {
			return nil, 0, nil
		}
		owner := k.Moved.GetOwner()
		a.owners.set(frame.GetRoomId(), owner)
		q.avoid = q.avoid[:0]
		if owner != from { // else the room is starting anew there
			q.avoid = append(q.avoid, from)
		}
		return nil, -1, nil
	case *roomv1.Frame_Refused:
		refused := &RefusedError{
			Code:       clientv1.ErrorCode(k.Refused.GetCode()),
			Message:    k.Refused.GetMessage(),
			RetryAfter: time.Duration(k.Refused.GetRetryAfterMs()) * time.Millisecond,
		}
		if !refused.passing() {
			return nil, 0, refused
		}
		q.refusal = refused
		return nil, refused.RetryAfter, nil
	default:
		a.owners.set(frame.GetRoomId(), from)
		return frame, 0, nil
	}
}

// pause waits before everybody is asked anew; false: time is up first.
func (q *question) pause(ctx context.Context, atLeast time.Duration) bool {
	wait := q.asker.cfg.RetryFirst << min(q.tries, 3)
	wait = max(atLeast, wait/2+rand.N(wait))
	q.tries++
	q.hops, q.avoid = 0, q.avoid[:0]
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// timeout is what the asker is told when time is up.
func (q *question) timeout(ctx context.Context) error {
	err := error(ErrUnreachable)
	if q.open {
		err = ErrUnanswered
	}
	if q.refusal != nil {
		return fmt.Errorf("%w: the last answer was: %w", err, q.refusal)
	}
	if cause := ctx.Err(); errors.Is(cause, context.Canceled) {
		return errors.Join(err, cause)
	}
	return err
}
