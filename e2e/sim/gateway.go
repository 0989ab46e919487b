package sim

import (
	"errors"
	"slices"
	"time"
)

// gateway is a gateway process: Links, its part in the directory, the router, the hub's topics and a core per connection.
type gateway struct {
	process
	links  *links
	member member

	// owners is which node runs a room, as far as anybody said.
	owners []*process
	topics []*topic
	cores  []*core
	number uint64 // of the last question of the hub
	conns  uint64
	// nextCompare and nextBlind are when the hub asks.
	nextCompare, nextBlind time.Duration
}

func newGateway(w *world, rank int, at site) *gateway {
	g := &gateway{process: process{w: w, name: nodeName("gateway", rank), rank: rank, site: at}}
	g.boot, g.died = g.begin, g.end
	return g
}

func (g *gateway) begin() {
	rooms := len(g.w.journal.streams)
	g.owners = make([]*process, rooms)
	g.topics = make([]*topic, rooms)
	g.cores = nil
	g.number, g.conns = g.w.rng.Uint64()>>1, g.w.rng.Uint64()>>1
	g.nextCompare = g.w.now + g.w.between(0, compareEvery)
	g.nextBlind = g.w.now
	g.links = newLinks(&g.process, g)
	g.member.join(&g.process, func() record { return record{p: &g.process, life: g.life} }, g.directoryChanged)
	g.every(gatewayTick, g.tick)
	g.every(checkEvery, g.checkSessions)
}

// checkSessions closes connections whose session was resumed elsewhere.
func (g *gateway) checkSessions() {
	held := slices.Clone(g.cores)
	var lost []*core
	g.w.journal.call(&g.process, false, storeTimeout, func() error {
		for _, s := range g.w.journal.sessions {
			for _, c := range held {
				if c.phase == open && c.session.member == s.member && c.session.generation < s.generation {
					lost = append(lost, c)
				}
			}
		}
		return nil
	}, func(err error) {
		for _, c := range lost {
			if err == nil && c.phase == open {
				c.replaced()
			}
		}
	})
}

// end: the sockets of a dead process are reset.
func (g *gateway) end() {
	for _, c := range g.cores {
		c.conn.reset()
	}
	g.cores = nil
}

func (g *gateway) directoryChanged() {
	var peers []peer
	for _, r := range g.member.view {
		if r.rooms {
			peers = append(peers, peer{r.p, r.life})
		}
	}
	g.links.setPeers(peers)
	for _, t := range g.topics {
		if t != nil && t.phase == live && !g.member.live(t.node) {
			t.gone(t.node)
		}
	}
}

func (g *gateway) tick() {
	for _, c := range slices.Clone(g.cores) {
		c.tick()
	}
	for _, t := range g.topics {
		if t != nil {
			t.tick()
		}
	}
	if g.w.now >= g.nextCompare && !g.w.without.CompareHeads {
		g.nextCompare = g.w.now + compareEvery
		g.compare()
	}
	if g.w.now >= g.nextBlind {
		g.nextBlind = g.w.now + blindEvery
		g.leaveBlind()
	}
}

// compare asks every owner whether its rooms are ahead of what is here.
func (g *gateway) compare() {
	for _, n := range g.w.rooms {
		var heads []roomHead
		for _, t := range g.topics {
			if t != nil && t.phase == live && t.node == &n.process {
				heads = append(heads, roomHead{t.room, t.epoch, t.last})
			}
		}
		if len(heads) > 0 {
			_ = g.links.send(&n.process, &frame{kind: compareFrame, heads: heads})
		}
	}
}

// leaveBlind asks other nodes for the rooms of one that may have lost them without knowing.
func (g *gateway) leaveBlind() {
	for _, t := range g.topics {
		if t == nil || t.phase != live {
			continue
		}
		if l := g.links.find(t.node); l != nil && l.state == up && l.peerBlind {
			g.w.stats.LeftBlind++
			t.gone(t.node)
		}
	}
}

var (
	errUnreachable = errors.New("no rooms node can be reached")
	errLinkBusy    = errors.New("link busy")
)

// route sends a frame to the room's owner as far as it is known, else to the first candidate that takes it. Nodes to avoid
// are passed over as long as another one takes it.
func (g *gateway) route(f *frame, avoid []*process) (*process, error) {
	var second []*process
	candidates := g.member.ranked(f.room)
	if owner := g.owners[f.room]; owner != nil && g.member.live(owner) {
		candidates = append([]*process{owner}, without(candidates, owner)...)
	}
	for _, node := range candidates {
		if slices.Contains(avoid, node) {
			second = append(second, node)
			continue
		}
		switch err := g.links.send(node, f); {
		case err == nil:
			return node, nil
		case errors.Is(err, errLinkFull):
			return nil, errLinkBusy
		}
	}
	for _, node := range second {
		if g.links.send(node, f) == nil {
			return node, nil
		}
	}
	return nil, errUnreachable
}

func (g *gateway) setOwner(room roomID, node *process) {
	if node != nil {
		g.owners[room] = node
	}
}

func (g *gateway) handleFrame(from *process, f *frame) {
	if f.conn != 0 {
		for _, c := range g.cores {
			if c.number == f.conn {
				c.answer(from, f)
				return
			}
		}
		return
	}
	if f.kind == differFrame {
		for _, room := range f.rooms {
			if t := g.topics[room]; t != nil && t.phase == live && t.node == from {
				g.w.stats.Differed++
				t.resubscribe(nil)
			}
		}
		return
	}
	t := g.topics[f.room]
	if t == nil {
		if f.kind == deliverFrame || f.kind == subscribedFrame { // a subscription that survived its end
			_ = g.links.send(from, &frame{kind: unsubscribeFrame, room: f.room})
		}
		return
	}
	switch f.kind {
	case deliverFrame:
		t.deliver(from, f)
	case pageFrame:
		t.page(f)
	case subscribedFrame:
		t.subscribed(from, f)
	case closedFrame:
		t.closed(from, f)
	case movedFrame:
		t.moved(from, f)
	case refusedFrame:
		t.refused(f)
	}
}

func (g *gateway) linkDown(node *process) {
	for _, c := range slices.Clone(g.cores) {
		c.linkDown(node)
	}
	if g.w.without.LinkEvents {
		return
	}
	for _, t := range g.topics {
		if t != nil && t.concerns(node) {
			t.resubscribe(node)
		}
	}
}

func (g *gateway) linkLost(node *process) {
	if g.w.without.LinkEvents {
		return
	}
	for _, t := range g.topics {
		if t != nil && t.concerns(node) {
			t.resubscribe(nil)
		}
	}
}
