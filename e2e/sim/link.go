package sim

import (
	"errors"
	"time"
)

// peer is one life of another process.
type peer struct {
	p    *process
	life int
}

// linkHandler gets what arrives at a node's door and what happens to its Links.
type linkHandler interface {
	handleFrame(from *process, f *frame)
	linkDown(node *process)
	linkLost(node *process)
}

// links are a node's Links, one per peer, and its door.
type links struct {
	p       *process
	handler linkHandler
	list    []*link
	door    door
	// floor is above every number used on Links that were replaced.
	floor uint64
	blind bool
}

func newLinks(p *process, h linkHandler) *links {
	l := &links{p: p, handler: h}
	l.door.links = l
	p.every(heartbeat/5, l.tick)
	return l
}

var (
	errLinkDown = errors.New("link down")
	errLinkFull = errors.New("link full")
	errSilent   = errors.New("peer is silent")
	errRefused  = errors.New("refused")
	errBroke    = errors.New("connection broke")
)

func (ls *links) find(node *process) *link {
	for _, l := range ls.list {
		if l.peer.p == node {
			return l
		}
	}
	return nil
}

// send queues a frame. It never waits.
func (ls *links) send(node *process, f *frame) error {
	l := ls.find(node)
	if l == nil {
		return errLinkDown
	}
	return l.send(f)
}

// setPeers makes Links to exactly these peers.
func (ls *links) setPeers(peers []peer) {
	var kept []*link
	for _, l := range ls.list {
		keep := false
		for _, p := range peers {
			keep = keep || p == l.peer
		}
		if keep {
			kept = append(kept, l)
			continue
		}
		ls.floor = max(ls.floor, l.close())
	}
	ls.list = kept
	for _, p := range peers {
		if ls.find(p.p) == nil {
			l := &link{links: ls, peer: p, number: ls.floor, since: ls.p.w.now, backoff: firstBackoff}
			ls.list = append(ls.list, l)
			l.next()
		}
	}
}

func (ls *links) tick() {
	for _, l := range ls.list {
		l.tick()
	}
}

type linkState uint8

const (
	connecting linkState = iota
	up
	down
	closed
)

// link is the way to one life of a peer: a bounded queue, sent as numbered batches, one in flight, each a question that
// the peer's door answers after it has handed the frames over.
type link struct {
	links *links
	peer  peer
	state linkState
	queue []*frame
	// busy: a batch is in flight; asking is its number among all, so that an answer that comes too late is ignored.
	busy      bool
	asking    int
	number    uint64
	since     time.Duration
	sentAt    time.Duration
	saidBlind bool
	retryAt   time.Duration
	backoff   time.Duration
	// heard is when this life of the peer last said something; 0: never.
	heard     time.Duration
	peerBlind bool
}

// batch is what a Link sends at once.
type batch struct {
	from   peer
	to     int
	number uint64
	blind  bool
	frames []*frame
}

func (l *link) send(f *frame) error {
	if l.state != up {
		return errLinkDown
	}
	if len(l.queue) >= l.links.p.w.net.queue {
		return errLinkFull
	}
	l.queue = append(l.queue, f)
	if !l.busy {
		l.next()
	}
	return nil
}

func (l *link) tick() {
	now := l.links.p.w.now
	switch {
	case l.state == up && now-l.heard > askTimeout:
		l.fall(errSilent)
	case l.state == connecting && now-l.since > askTimeout:
		l.fall(errSilent)
	}
	l.next()
}

func (l *link) due() bool {
	now := l.links.p.w.now
	switch l.state {
	case up:
		return len(l.queue) > 0 || now-l.sentAt >= heartbeat || l.saidBlind != l.links.blind
	case closed:
		return false
	default:
		return now >= l.retryAt
	}
}

// next sends the next batch when one is due.
func (l *link) next() {
	if l.busy || !l.due() {
		return
	}
	l.busy = true
	l.asking++
	l.number++
	l.sentAt, l.saidBlind = l.links.p.w.now, l.links.blind
	n := min(len(l.queue), linkBatch)
	b := &batch{
		from: peer{l.links.p, l.links.p.life}, to: l.peer.life, number: l.number, blind: l.saidBlind,
		frames: append([]*frame(nil), l.queue[:n]...),
	}
	l.queue = append([]*frame(nil), l.queue[n:]...)
	asking := l.asking
	l.links.p.after(askTimeout, func() { l.answered(asking, errSilent) })
	l.transmit(b, asking, false)
}

// transmit puts a batch on its way, and once more when the connection breaks: the door knows a batch that it has taken.
func (l *link) transmit(b *batch, asking int, again bool) {
	p, to := l.links.p, l.peer.p
	w := p.w
	answer := func(err error) {
		w.net.back(to.site, p, b.from.life, func() {
			if errors.Is(err, errBroke) && !again && l.asking == asking && l.busy {
				l.transmit(b, asking, true)
				return
			}
			l.answered(asking, err)
		})
	}
	fate := w.net.fate()
	if fate == requestBreaks {
		answer(errBroke)
		return
	}
	arrive := func() {
		if (asking != l.asking || !l.busy) && w.chance(0.5) {
			return // given up meanwhile: its connection was closed
		}
		err := doorOf(to).take(b)
		if fate == answerBreaks {
			err = errBroke
		}
		answer(err)
	}
	w.net.carry(p.site, to, arrive, func() { answer(errRefused) })
	if w.net.trouble > 0 && w.chance(0.02) { // what a broken connection still held
		w.after(w.between(0, 2*time.Second), func() {
			w.net.carry(p.site, to, func() { _ = doorOf(to).take(b) }, nil)
		})
	}
}

func (l *link) answered(asking int, err error) {
	if asking != l.asking || !l.busy {
		return
	}
	l.busy = false
	switch {
	case l.state == closed:
		return
	case err != nil && l.state == down:
		l.delay()
	case err != nil:
		l.fall(err)
	default:
		l.heard = l.links.p.w.now
		if l.state != up {
			l.state, l.backoff = up, firstBackoff
			l.links.p.w.tracef("%s: link to %s is up", l.links.p, l.peer.p)
		}
	}
	l.next()
}

// fall takes the Link down and drops what is queued.
func (l *link) fall(why error) {
	l.links.p.w.tracef("%s: link to %s is down: %v", l.links.p, l.peer.p, why)
	l.state = down
	l.drop()
	l.backoff = firstBackoff
	l.delay()
	node := l.peer.p
	l.links.p.soon(func() { l.links.handler.linkDown(node) })
}

// drop empties the queue and leaves a gap in the numbers, even when nothing was queued: frames are refused while the Link is
// down, and the receiver, whose own Link may be up all the time, would not learn of it otherwise.
func (l *link) drop() {
	if len(l.queue) > 0 || !l.links.p.w.without.LinkGap {
		l.number++
	}
	l.queue = nil
}

func (l *link) delay() {
	w := l.links.p.w
	l.retryAt = w.now + l.backoff/2 + w.between(0, l.backoff)
	l.backoff = min(2*l.backoff, lastBackoff)
}

// close ends the Link and returns the last number used.
func (l *link) close() uint64 {
	was := l.state
	l.state = closed
	l.drop()
	if was == up {
		node := l.peer.p
		l.links.p.soon(func() { l.links.handler.linkDown(node) })
	}
	return l.number
}

// onHeard takes note of a batch from this life of the peer. A Link that waits to try again tries at once.
func (l *link) onHeard(blind bool) {
	now := l.links.p.w.now
	l.heard, l.peerBlind = now, blind
	if (l.state == connecting || l.state == down) && !l.busy {
		l.retryAt, l.backoff = now, firstBackoff
		l.next()
	}
}
