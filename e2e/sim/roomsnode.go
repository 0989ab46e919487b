package sim

import (
	"errors"
	"time"
)

// roomsNode is a rooms process: its Links, its part in the directory and the room host.
type roomsNode struct {
	process
	links  *links
	member member
	host   *host

	mark     int
	sawAt    time.Duration
	draining bool
}

func newRoomsNode(w *world, rank int, at site) *roomsNode {
	n := &roomsNode{process: process{w: w, name: nodeName("rooms", rank), rank: rank, site: at}}
	n.boot, n.died = n.begin, func() {}
	return n
}

func nodeName(service string, rank int) string { return service + "-" + string(rune('1'+rank)) }

func (n *roomsNode) begin() {
	n.mark, n.sawAt, n.draining = 0, n.w.now, false
	n.host = newHost(n)
	n.links = newLinks(&n.process, n)
	n.member.join(&n.process, n.record, n.directoryChanged)
	n.every(hostTick, n.host.tick)
	if !n.w.without.TakeoverPoll {
		n.after(n.w.between(0, takeoverEvery), n.pollTakeovers)
	}
}

func (n *roomsNode) record() record {
	return record{p: &n.process, life: n.life, rooms: true, draining: n.draining}
}

// directoryChanged keeps Links to the gateways, which subscribe here, and to the other rooms nodes, whose Links tell whether
// they live.
func (n *roomsNode) directoryChanged() {
	var peers []peer
	for _, r := range n.member.view {
		if r.p != &n.process {
			peers = append(peers, peer{r.p, r.life})
		}
	}
	n.links.setPeers(peers)
}

// pollTakeovers asks the journal which rooms others have claimed. While it cannot ask, the node says that it is blind.
func (n *roomsNode) pollTakeovers() {
	began, mark := n.w.now, n.mark
	var list []takeover
	next := 0
	n.w.journal.call(&n.process, false, blindAfter, func() error {
		list, next = n.w.journal.takeovers(&n.process, mark)
		return nil
	}, func(err error) {
		if err == nil {
			n.mark, n.sawAt = next, n.w.now
			n.setBlind(false)
			n.host.takeovers(list)
		} else {
			n.setBlind(n.w.now-n.sawAt >= blindAfter)
		}
		n.after(max(0, began+takeoverEvery-n.w.now), n.pollTakeovers)
	})
}

func (n *roomsNode) setBlind(blind bool) {
	if n.links.blind != blind && !n.w.without.Blind {
		n.w.tracef("%s: blind: %v", n, blind)
		n.links.blind = blind
	}
}

func (n *roomsNode) handleFrame(from *process, f *frame) {
	switch f.kind {
	case preloadFrame:
		n.host.preload(from, f)
	case preloadedFrame:
		n.host.preloaded(from, f)
	case handOverFrame:
		n.host.takeOver(from, f)
	case takenOverFrame:
		n.host.takenOver(from, f)
	case notTakenFrame:
		n.host.notTaken(from, f)
	default:
		n.host.inbound(&inbound{from: from, frame: f, at: n.w.now})
	}
}

func (n *roomsNode) linkDown(node *process) { n.host.nodeGone(node) }
func (n *roomsNode) linkLost(node *process) { n.host.nodeGone(node) }

// drain is SIGTERM: the node gives its rooms away and ends.
func (n *roomsNode) drain() {
	if !n.up || n.frozen || n.draining {
		return
	}
	n.w.tracef("%s drains", n)
	n.draining = true
	n.member.renew()
	n.host.drain()
	n.after(10*time.Second, n.leave)
}

func (n *roomsNode) leave() {
	n.member.leave()
	n.kill()
}

// mayClaim decides whether a node takes a room with that head. What the Link says counts most: an owner that answers is not
// robbed, whatever the directory says, and one that does not is replaced, though its record may live on for a while. The lack
// of a record says that the owner is gone, if it would be there otherwise.
func (n *roomsNode) mayClaim(head stream) bool {
	if head.epoch == 0 || head.owner == nil || head.owner == &n.process || n.w.without.LiveOwner {
		return true
	}
	l := n.links.find(head.owner)
	switch {
	case l != nil && l.state == up:
		return l.peerBlind
	case l != nil && (l.state == down || l.state == closed):
		return true
	default: // a Link that is still connecting says nothing
		unseen := n.member.asOf-head.claimedAt <= knownAfter
		return !n.member.live(head.owner) && !unseen
	}
}

// start looks at a room's head and starts it here if that is allowed.
type start struct {
	n    *roomsNode
	s    *slot
	try  int
	over bool
}

func (n *roomsNode) startRoom(s *slot) {
	st := &start{n: n, s: s}
	n.after(startTimeout, func() { st.end(nil, errUnavailable) })
	if s.given != nil {
		st.claim(s.given.epoch)
		return
	}
	st.look()
}

func (st *start) look() {
	n, room := st.n, st.s.room
	var head stream
	n.w.journal.call(&n.process, false, startTimeout, func() error {
		head = *n.w.journal.streams[room]
		return nil
	}, func(err error) {
		switch {
		case st.over:
		case err != nil:
			st.end(nil, err)
		case !n.mayClaim(head):
			st.moved(head.owner)
		default:
			st.claim(head.epoch)
		}
	})
}

func (st *start) claim(guard uint64) {
	n, room := st.n, st.s.room
	var c claimed
	n.w.journal.call(&n.process, true, startTimeout, func() (err error) {
		c, err = n.w.journal.claim(room, &n.process, guard)
		return err
	}, func(err error) {
		switch {
		case st.over:
		case errors.Is(err, errGuard) && st.s.given == nil && st.try+1 < guardRetries:
			st.try++
			st.look()
		case err != nil:
			st.end(nil, err)
		default:
			st.recover(c)
		}
	})
}

// recover reads what the room has. What was read ahead for a hand-over need not be read again.
func (st *start) recover(c claimed) {
	n, s := st.n, st.s
	if st.s.given != nil && n.host.warm[s.room] == c.last {
		st.begin(c, n.w.journal.streams[s.room].rows[:c.last:c.last])
		return
	}
	var rows []row
	n.w.journal.call(&n.process, false, readTimeout, func() error {
		all := n.w.journal.streams[s.room].rows
		rows = all[:min(c.last, uint64(len(all))):c.last]
		return nil
	}, func(err error) {
		switch {
		case st.over:
		case err != nil:
			st.end(nil, err)
		default:
			st.begin(c, rows)
		}
	})
}

func (st *start) begin(c claimed, rows []row) {
	st.end(newActivation(st.n, st.s, c, rows), nil)
}

func (st *start) moved(owner *process) {
	st.over = true
	st.n.host.startMoved(st.s, owner)
}

func (st *start) end(a *activation, err error) {
	if st.over {
		return
	}
	st.over = true
	if err != nil {
		st.n.host.startFailed(st.s, err)
		return
	}
	st.n.host.started(st.s, a)
}
