package actorkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tochemey/goakt/v4/actor"
	gerrors "github.com/tochemey/goakt/v4/errors"

	linkv1 "github.com/parley-rt/parley/libs/protocol/link/v1"
)

const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = time.Second
)

type linkState int

const (
	linkConnecting linkState = iota
	linkUp
	linkDown
	linkClosed
)

// link is the state of the way to one life of one peer. The queue is fed by any goroutine; everything else happens on the
// Link actor's turn and in the node's ticker. See the state diagram in the package's documentation.
type link struct {
	node *Node
	peer Peer

	mu    sync.Mutex
	state linkState
	queue outbox
	// pid is the Link actor, nil until its spawn has returned.
	pid *actor.PID
	// door is the peer's door once looked up: an address, good for this incarnation's whole life.
	door *actor.PID
	// woken: a wake is in the actor's mailbox. busy: a lookup or an Ask is running.
	woken, busy bool
	// number of the last batch formed, or skipped because queued frames were dropped.
	number uint64
	since  time.Time // of connecting
	sentAt time.Time
	// saidBlind is what the last batch said.
	saidBlind bool
	retryAt   time.Time
	backoff   time.Duration
	// cause is why the Link is down.
	cause error

	out batch

	heard atomic.Int64 // unix nanoseconds, 0: never
	blind atomic.Bool
}

// wake is the Link actor's cue to look at its queue.
type wake struct{}

// looked and answered are the results of a Link's tasks. They never leave the node.
type (
	looked struct {
		door *actor.PID
		err  error
	}
	answered struct{ err error }
)

func newLink(n *Node, p Peer, floor uint64, now time.Time) *link {
	return &link{
		node: n, peer: p, since: now, number: floor, backoff: minBackoff,
		queue: outbox{limit: n.cfg.QueueBytes, batchBytes: n.cfg.BatchBytes},
	}
}

// send queues a frame and wakes the actor unless something else will make it look.
func (l *link) send(f Frame) error {
	l.mu.Lock()
	if l.state != linkUp {
		err := l.cause
		l.mu.Unlock()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrLinkDown, err)
		}
		return ErrLinkDown
	}
	if !l.queue.push(f) {
		l.mu.Unlock()
		return ErrLinkFull
	}
	cue := !l.busy && !l.woken
	l.woken = l.woken || cue
	l.mu.Unlock()
	if cue {
		l.cue()
	}
	return nil
}

// cue tells the actor to look. The caller has set woken.
func (l *link) cue() {
	l.mu.Lock()
	pid := l.pid
	l.mu.Unlock()
	if pid == nil || l.node.tell(pid, wake{}) != nil {
		// Not spawned yet: the ticker tries again.
		l.mu.Lock()
		l.woken = false
		l.mu.Unlock()
	}
}

// tick declares a peer down that was silent for too long and wakes the actor when something is due.
func (l *link) tick(now time.Time) {
	l.mu.Lock()
	switch l.state {
	case linkUp:
		if silent := now.Sub(l.lastHeard()); silent > l.node.cfg.AskTimeout {
			l.fall(now, fmt.Errorf("%w for %v", ErrSilent, silent.Round(time.Millisecond)))
		}
	case linkConnecting:
		if now.Sub(l.since) > l.node.cfg.AskTimeout {
			l.fall(now, fmt.Errorf("%w since the link was made", ErrSilent))
		}
	}
	cue := !l.busy && !l.woken && l.due(now)
	l.woken = l.woken || cue
	l.mu.Unlock()
	if cue {
		l.cue()
	}
}

func (l *link) due(now time.Time) bool {
	switch l.state {
	case linkUp:
		return !l.queue.empty() || now.Sub(l.sentAt) >= l.node.cfg.Heartbeat || l.saidBlind != l.node.blind.Load()
	case linkClosed:
		return true
	default:
		return !now.Before(l.retryAt)
	}
}

// next decides what the actor self does now: a task to run, nil for nothing. done: the actor should stop.
func (l *link) next(now time.Time, self *actor.PID) (task func() (any, error), done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.woken = false
	if l.busy {
		return nil, false
	}
	if l.state == linkClosed {
		return nil, true
	}
	if !l.due(now) {
		return nil, false
	}
	l.busy = true
	if l.door == nil {
		return l.lookup, false
	}
	l.number++
	l.sentAt = now
	l.saidBlind = l.node.blind.Load()
	l.out.msg.FromNode, l.out.msg.FromIncarnation = l.node.self.Node, l.node.self.Incarnation
	l.out.msg.ToIncarnation = l.peer.Incarnation
	l.out.msg.Number, l.out.msg.Blind = l.number, l.saidBlind
	bodies := l.queue.take(&l.out)
	door := l.door
	return func() (any, error) { return l.ask(self, door, bodies), nil }, false
}

// lookup finds the peer's door. It runs in a task.
func (l *link) lookup() (m any, _ error) {
	defer recoverTask(func(err error) { m = &looked{err: err} })
	ctx, cancel := context.WithTimeout(l.node.ctx, l.node.cfg.AskTimeout)
	defer cancel()
	door, err := l.node.sys.NoSender().RemoteLookup(ctx, l.peer.Host, l.peer.RemotingPort, doorPath(l.peer.Node))
	if err != nil {
		l.dropConnection()
	}
	return &looked{door: door, err: err}, nil
}

// dropConnection makes the next attempt dial anew. A server of GoAkt that was stopped goes on answering on connections it
// had, with errors, as long as its process lives; a request whose time is over makes the client throw one away.
func (l *link) dropConnection() {
	ctx, cancel := context.WithDeadline(l.node.ctx, time.Unix(0, 0))
	defer cancel()
	_, _ = l.node.sys.NoSender().RemoteLookup(ctx, l.peer.Host, l.peer.RemotingPort, doorPath(l.peer.Node))
}

// ask sends the batch that next has formed. It runs in a task.
func (l *link) ask(self, door *actor.PID, bodies int) (m *answered) {
	defer recoverTask(func(err error) { m = &answered{err: err} })
	n := l.node
	start := time.Now()
	msg := l.out.seal()
	frames := int64(l.out.len())
	reply, err := exchange(n.ctx, n.cfg.AskTimeout, func(ctx context.Context, timeout time.Duration) (any, error) {
		return self.Ask(ctx, door, msg, timeout)
	})
	l.out.release()
	if err == nil {
		err = checkReply(reply, l.peer)
	} else {
		l.dropConnection()
	}
	if err == nil {
		n.metrics.rtt.Record(n.ctx, time.Since(start).Seconds())
		n.metrics.batches.Add(n.ctx, 1, n.metrics.sent)
		n.metrics.frames.Add(n.ctx, frames, n.metrics.sent)
		n.metrics.bytes.Add(n.ctx, int64(bodies), n.metrics.sent)
	}
	return &answered{err: err}
}

// exchange asks, and asks once more in the time left when the connection broke: the receiver recognises a batch that it
// has taken by its number, so one lost connection need not cost the frames.
func exchange(ctx context.Context, timeout time.Duration, ask func(context.Context, time.Duration) (any, error)) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	reply, err := ask(ctx, timeout)
	if err == nil || !connectionBroke(err) {
		return reply, err
	}
	deadline, _ := ctx.Deadline()
	if left := time.Until(deadline); left > 0 {
		return ask(ctx, left)
	}
	return reply, err
}

func connectionBroke(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// recoverTask turns a panic in a task, which would end the process, into a result.
func recoverTask(fail func(error)) {
	if r := recover(); r != nil {
		fail(fmt.Errorf("panic in a task: %v", r))
	}
}

func checkReply(reply any, peer Peer) error {
	r, ok := reply.(*linkv1.BatchReply)
	switch {
	case !ok:
		return fmt.Errorf("%w: answered with %T", ErrRefused, reply)
	case r.GetRefused() != "":
		return fmt.Errorf("%w: %s", ErrRefused, r.GetRefused())
	case r.GetIncarnation() != peer.Incarnation:
		return fmt.Errorf("%w: answered by incarnation %s", ErrRefused, r.GetIncarnation())
	}
	return nil
}

func (l *link) onLooked(now time.Time, m *looked) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = false
	switch {
	case l.state == linkClosed:
	case m.err == nil && m.door != nil:
		l.door, l.retryAt = m.door, now
	case errors.Is(m.err, gerrors.ErrActorNotFound) && l.state == linkConnecting:
		l.delay(now) // It may be starting.
	default:
		l.fail(now, m.err)
	}
}

func (l *link) onAnswered(now time.Time, m *answered) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = false
	switch {
	case l.state == linkClosed:
	case m.err != nil:
		l.fail(now, m.err)
	default:
		l.heard.Store(now.UnixNano())
		if l.state != linkUp {
			l.state, l.backoff, l.cause = linkUp, minBackoff, nil
			l.node.announce(LinkEvent{Peer: l.peer, Kind: LinkUp})
		}
	}
}

// fail takes note of a failed attempt. l.mu is held.
func (l *link) fail(now time.Time, err error) {
	if l.state == linkDown {
		l.cause = err
		l.delay(now)
		return
	}
	l.fall(now, err)
}

// fall takes the Link down and drops what is queued. l.mu is held.
func (l *link) fall(now time.Time, err error) {
	l.state, l.cause = linkDown, err
	l.dropQueue()
	l.backoff = minBackoff
	l.delay(now)
	l.node.announce(LinkEvent{Peer: l.peer, Kind: LinkDown, Err: err})
}

// dropQueue leaves a gap in the numbers when it drops anything: the batch in flight may arrive after all, and without a
// gap the receiver would not miss the frames behind it.
func (l *link) dropQueue() {
	if l.queue.drop() {
		l.number++
	}
}

func (l *link) delay(now time.Time) {
	l.retryAt = now.Add(l.backoff/2 + rand.N(l.backoff))
	l.backoff = min(2*l.backoff, maxBackoff)
}

// close ends the Link for good and returns the last number used.
func (l *link) close(why error) uint64 {
	l.mu.Lock()
	was := l.state
	if was != linkClosed {
		l.state, l.cause = linkClosed, why
		l.dropQueue()
		if was == linkUp {
			l.node.announce(LinkEvent{Peer: l.peer, Kind: LinkDown, Err: why})
		}
	}
	number := l.number
	l.woken = true
	l.mu.Unlock()
	l.cue()
	return number
}

// onHeard takes note of a batch from this life of the peer. A Link that is waiting to try again tries at once.
func (l *link) onHeard(now time.Time, blind bool) {
	l.heard.Store(now.UnixNano())
	l.blind.Store(blind)
	l.mu.Lock()
	cue := (l.state == linkConnecting || l.state == linkDown) && !l.busy && !l.woken
	if cue {
		l.woken, l.retryAt, l.backoff = true, now, minBackoff
	}
	l.mu.Unlock()
	if cue {
		l.cue()
	}
}

func (l *link) lastHeard() time.Time {
	if ns := l.heard.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}

func (l *link) status() LinkStatus {
	l.mu.Lock()
	state, cause := l.state, l.cause
	l.mu.Unlock()
	return LinkStatus{
		Up: state == linkUp, Down: state == linkDown || state == linkClosed, Err: cause,
		Blind: l.blind.Load(), LastHeard: l.lastHeard(),
	}
}

// drained tells whether nothing is queued or in flight.
func (l *link) drained() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state != linkUp || l.queue.empty() && !l.busy
}

func (l *link) queued() (bytes int, up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queue.bytes, l.state == linkUp
}

// linkActor runs a Link's tasks, one at a time.
type linkActor struct{ link *link }

func (a *linkActor) PreStart(*actor.Context) error { return nil }

func (a *linkActor) Receive(rctx *actor.ReceiveContext) {
	switch m := rctx.Message().(type) {
	case *actor.PostStart, wake:
	case *looked:
		a.link.onLooked(time.Now(), m)
	case *answered:
		a.link.onAnswered(time.Now(), m)
	default:
		rctx.Unhandled()
		return
	}
	task, done := a.link.next(time.Now(), rctx.Self())
	if done {
		rctx.Shutdown()
		return
	}
	if task != nil && a.link.node.beginTask() {
		rctx.PipeTo(rctx.Self(), func() (any, error) {
			defer a.link.node.tasks.Done()
			return task()
		})
	}
}

func (a *linkActor) PostStop(*actor.Context) error { return nil }
