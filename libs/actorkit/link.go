package actorkit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tochemey/goakt/v4/actor"
	gerrors "github.com/tochemey/goakt/v4/errors"
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
// Link's own and in the node's ticker. See the state diagram in the package's documentation.
type link struct {
	node *Node
	peer Peer
	// wake is the goroutine's cue to look.
	wake chan struct{}

	mu    sync.Mutex
	state linkState
	queue outbox
	// door is the peer's door once looked up: an address, good for this incarnation's whole life.
	door *actor.PID
	// busy: a lookup or an Ask is running; the goroutine looks again behind it.
	busy bool
	// turn counts the goroutines: one that waits for an answer when the Link goes down is left to end by itself.
	turn int
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
	way   way
	// waiting is for what comes back to a batch that went around; nil: none did.
	waiting *waiting

	out *batch

	heard atomic.Int64 // unix nanoseconds, 0: never
	// handed is when the call to a neighbour began that is running; unix nanoseconds, 0: none is.
	handed atomic.Int64
	blind  atomic.Bool
	// direct: the Link is up and goes over no third node.
	direct atomic.Bool
}

func newLink(n *Node, p Peer, floor uint64, now time.Time) *link {
	return &link{
		node: n, peer: p, wake: make(chan struct{}, 1), since: now, number: floor, backoff: minBackoff, out: new(batch),
		queue: outbox{limit: n.cfg.QueueBytes, batchBytes: n.cfg.BatchBytes},
	}
}

// send queues a frame and wakes the goroutine unless it will look anyway.
func (l *link) send(f Frame) error {
	if f.Decoded != nil && (l.node.cfg.Neighbours.find(l.peer.Incarnation) == nil || f.Memory() > l.queue.limit) {
		f.Decoded = nil // who gets a copy of the body decodes it, and it would be kept until then; too large for any queue, it goes without
	}
	l.mu.Lock()
	if l.state != linkUp || l.way.over != "" && f.relay.GetBatch() != nil {
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
	cue := !l.busy
	l.mu.Unlock()
	if cue {
		l.cue()
	}
	return nil
}

// cue tells the goroutine to look.
func (l *link) cue() {
	select {
	case l.wake <- struct{}{}:
	default: // it has one
	}
}

// tick declares a peer down that was silent for too long and wakes the goroutine when something is due.
func (l *link) tick(now time.Time) {
	l.mu.Lock()
	switch l.state {
	case linkUp:
		if silent := now.Sub(l.lastHeard()); silent > l.node.cfg.AskTimeout {
			l.fall(now, fmt.Errorf("%w for %v", ErrSilent, silent.Round(time.Millisecond)))
		} else if took := l.handing(now); took > l.node.cfg.AskTimeout {
			l.fall(now, fmt.Errorf("%w: it has not taken a batch for %v", ErrSilent, took.Round(time.Millisecond)))
		}
		l.probeIfDue(now)
	case linkConnecting:
		if now.Sub(l.since) > l.node.cfg.AskTimeout {
			l.fall(now, fmt.Errorf("%w since the link was made", ErrSilent))
		}
	}
	cue := !l.busy && l.due(now)
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

// next decides what the goroutine does now: a task to run, nil for nothing. done: it should end.
func (l *link) next(now time.Time, turn int) (task func() any, done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == linkClosed || l.turn != turn {
		return nil, true
	}
	if !l.due(now) {
		return nil, false
	}
	l.busy = true
	var ways []string
	if l.way.over != "" || l.state == linkDown && l.way.around {
		ways = l.ways()
	}
	around := l.way.over != "" || len(ways) > 0
	l.way.around = !around
	if !around && l.door == nil {
		return l.lookup, false
	}
	l.number++
	l.sentAt = now
	l.saidBlind = l.node.blind.Load()
	l.out.msg.FromNode, l.out.msg.FromIncarnation = l.node.self.Node, l.node.self.Incarnation
	l.out.msg.ToIncarnation = l.peer.Incarnation
	l.out.msg.Number, l.out.msg.Blind = l.number, l.saidBlind
	out := l.out
	bodies := l.queue.take(out)
	if around {
		d := l.newDetour(ways)
		return func() any { return d.run(out, bodies) }, false
	}
	door := l.door
	return func() any { return l.ask(door, out, bodies) }, false
}

func (l *link) onLooked(now time.Time, turn int, m *looked) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.late(now, turn, m.err) {
		return
	}
	l.busy = false
	switch {
	case l.state == linkClosed:
	case m.err == nil && m.door != nil:
		l.door, l.retryAt, l.way.around = m.door, now, false
	case errors.Is(m.err, gerrors.ErrActorNotFound) && l.state == linkConnecting:
		l.delay(now) // It may be starting.
	default:
		l.fail(now, m.err)
	}
}

func (l *link) onAnswered(now time.Time, turn int, m *answered) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.late(now, turn, m.err) {
		return
	}
	l.busy = false
	switch {
	case l.state == linkClosed:
	case m.err != nil:
		l.fail(now, m.err)
	default:
		l.heard.Store(now.UnixNano())
		was := l.state
		l.state = linkUp
		if was != linkUp || l.way.over != "" { // not when the direct way was found while a batch went around
			l.goes(now, m.over)
		}
		if was != linkUp {
			l.backoff, l.cause = minBackoff, nil
			l.node.announce(LinkEvent{Peer: l.peer, Kind: LinkUp})
		}
	}
}

// fail takes note of a failed attempt. l.mu is held.
func (l *link) fail(now time.Time, err error) {
	if l.state != linkDown {
		l.fall(now, err)
		return
	}
	if !errors.Is(err, errNotAround) { // says less of the peer than why it is not reached directly
		l.cause = err
	}
	l.again(now)
}

// fall takes the Link down and drops what is queued. l.mu is held.
func (l *link) fall(now time.Time, err error) {
	was := l.state
	l.state, l.cause = linkDown, err
	l.dropQueue(was)
	l.backoff = minBackoff
	l.way.over, l.way.around = "", true
	l.direct.Store(false)
	if l.busy {
		l.abandon()
	}
	l.again(now)
	l.node.announce(LinkEvent{Peer: l.peer, Kind: LinkDown, Err: err})
}

// abandon leaves what is running to end by itself, at the latest when its time is over, and goes on with another goroutine. The
// caller is one of the node's own, so the node is not done waiting for them.
func (l *link) abandon() {
	l.turn++
	l.busy, l.out = false, new(batch)
	l.node.loops.Add(1)
	go l.run(l.turn)
	l.cue()
}

// late tells whether something that was abandoned has come to an end. If that was a good one, the direct way is back.
func (l *link) late(now time.Time, turn int, err error) bool {
	if l.turn == turn {
		return false
	}
	if err == nil && l.state == linkDown && !l.busy {
		l.retryAt, l.backoff, l.way.around = now, minBackoff, false
		l.cue()
	}
	return true
}

// dropQueue empties the queue. A Link that was up leaves a gap in the numbers, whatever was queued: the batch in flight may
// arrive after all, and without a gap the receiver, whose own Link may be up all the time, would miss neither the frames
// behind it nor those that are refused until the Link is up again.
func (l *link) dropQueue(was linkState) {
	l.queue.drop()
	if was == linkUp {
		l.number++
	}
}

// again sets the time of the next attempt of a Link that is down: each round is one directly and one around right behind it.
func (l *link) again(now time.Time) {
	if l.way.around && len(l.ways()) > 0 {
		l.retryAt = now
		return
	}
	l.delay(now)
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
		l.direct.Store(false)
		l.dropQueue(was)
		if was == linkUp {
			l.node.announce(LinkEvent{Peer: l.peer, Kind: LinkDown, Err: why})
		}
	}
	number := l.number
	l.mu.Unlock()
	l.cue()
	return number
}

// onHeard takes note of a batch from this life of the peer, and over whom it came. A Link that is waiting to try again tries at
// once.
func (l *link) onHeard(now time.Time, blind bool, over string) {
	l.heard.Store(now.UnixNano())
	l.blind.Store(blind)
	l.mu.Lock()
	l.way.heard(over)
	cue := (l.state == linkConnecting || l.state == linkDown) && !l.busy
	if cue {
		l.retryAt, l.backoff = now, minBackoff
		l.way.around = l.way.around || over != ""
	}
	l.mu.Unlock()
	if cue {
		l.cue()
	}
}
