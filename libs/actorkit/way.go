package actorkit

import (
	"cmp"
	"log/slog"
	"slices"
	"time"
)

const (
	// waysTried bounds how many third nodes one attempt asks: those that have no way say so at once.
	waysTried = 3
	// A Link that goes around looks for the direct way that often; the longer, the more often it was not there.
	minProbe = time.Second
	maxProbe = 15 * time.Second
)

// way is how a Link's batches go, and what is known of the other ways. The Link's mutex guards it.
type way struct {
	// over is the third node that the Link goes over; empty: none, it is direct.
	over string
	// said is what was last logged of that.
	said string
	// hint is the third node over which the peer was last heard or has answered, and last the one that was asked last.
	hint, last string
	// around: the next attempt of a Link that is down goes around, if there is a way.
	around bool

	// While the Link goes around it looks for the direct way. back is when it last found it.
	back, probedAt, probeAt time.Time
	probeWait               time.Duration
	probing                 bool
}

// change notes the way that has led to an answer.
func (w *way) change(now time.Time, over string) {
	if w.over == over {
		return
	}
	switch {
	case over == "":
		w.back = now
	case w.over == "" && now.Sub(w.back) < maxProbe: // it was direct for a moment only, and is not trusted to be so again soon
		w.missed(now)
	case w.over == "":
		w.probeWait, w.probeAt = minProbe, now.Add(minProbe)
	}
	w.over = over
	if over != "" {
		w.hint = over
	}
}

// missed notes that there is no direct way yet.
func (w *way) missed(now time.Time) {
	w.probeWait = max(minProbe, min(2*w.probeWait, maxProbe))
	w.probeAt = now.Add(w.probeWait)
}

// heard notes over whom the peer was heard; directly: then the direct way may be there again.
func (w *way) heard(over string) {
	if over != "" {
		w.hint = over
	} else if soon := w.probedAt.Add(minProbe); soon.Before(w.probeAt) {
		w.probeAt = soon
	}
}

// failed notes that a third node did not bring an answer.
func (w *way) failed(over string) {
	w.last = over
	if w.hint == over {
		w.hint = ""
	}
}

// pick lists the third nodes to ask, best first: the one that was good last; then in turn, beginning behind the one that was
// asked last, nodes of our own service, which know whom we know, those of the peer's, and the others.
func (w *way) pick(self, to Peer, direct []Peer) []string {
	rank := func(p Peer) int {
		switch p.Service {
		case self.Service:
			return 0
		case to.Service:
			return 1
		default:
			return 2
		}
	}
	direct = slices.DeleteFunc(direct, func(p Peer) bool { return p.Node == to.Node || p.Node == self.Node })
	slices.SortFunc(direct, func(a, b Peer) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Node, b.Node))
	})
	names := make([]string, len(direct))
	for i, p := range direct {
		names[i] = p.Node
	}
	if i := slices.Index(names, w.last); i >= 0 {
		names = slices.Concat(names[i+1:], names[:i+1])
	}
	if i := slices.Index(names, w.hint); i >= 0 {
		names = slices.Concat([]string{w.hint}, names[:i], names[i+1:])
	}
	return names[:min(len(names), waysTried)]
}

// directPeers are those whose Link is up and direct.
func (n *Node) directPeers() []Peer {
	var peers []Peer
	for _, l := range *n.links.Load() {
		if l.direct.Load() {
			peers = append(peers, l.peer)
		}
	}
	return peers
}

// ways lists the third nodes to ask. l.mu is held, so no other Link's is taken.
func (l *link) ways() []string { return l.way.pick(l.node.self, l.peer, l.node.directPeers()) }

// goes notes which way the last answer came, and logs when that is another one than was logged last. l.mu is held.
func (l *link) goes(now time.Time, over string) {
	l.way.change(now, over)
	l.direct.Store(l.state == linkUp && over == "")
	if l.way.said == over {
		return
	}
	l.way.said = over
	peer := slog.String("peer", l.peer.Node)
	if over == "" {
		l.node.cfg.Logger.Info("link goes directly again", peer)
	} else {
		l.node.cfg.Logger.Warn("link goes around", peer, slog.String("over", over), slog.Any("err", l.cause))
	}
}
