package sim

import "time"

// site is a place in the network: a node, the journal or the control plane. Clients have their own way to a gateway.
type site int

// network carries what sites send each other. Between nodes there is TCP: a message may be late, its connection may break
// before or after it arrived, and while a way is cut it waits for the end of the cut and a while longer.
type network struct {
	w *world
	// cuts counts the faults that cut a way, by from and to.
	cuts   [][]int
	parked []parcel
	// trouble is how likely a connection breaks under a request or its answer, stragglers how likely a message takes up to
	// seconds.
	trouble, stragglers float64
	// queue is how many frames wait on a Link at most.
	queue int
}

// parcel waits for the end of a cut. TCP sends it again and again, with pauses that double.
type parcel struct {
	from, to site
	sent     time.Duration
	e        event
}

func newNetwork(w *world, sites int) network {
	n := network{w: w, cuts: make([][]int, sites), queue: 512}
	if w.chance(0.3) {
		n.queue = 6
	}
	for i := range n.cuts {
		n.cuts[i] = make([]int, sites)
	}
	return n
}

func (n *network) open(from, to site) bool { return n.cuts[from][to] == 0 }

// latency is that of one message.
func (n *network) latency() time.Duration {
	w := n.w
	switch {
	case n.stragglers > 0 && w.chance(n.stragglers):
		return w.between(100*time.Millisecond, 3*time.Second)
	case w.chance(0.01):
		return w.between(3*time.Millisecond, 40*time.Millisecond)
	default:
		return w.between(200*time.Microsecond, 3*time.Millisecond)
	}
}

// carry brings something to an address, where whoever runs then gets it; refused happens when nobody does.
func (n *network) carry(from site, to *process, do, refused func()) {
	n.send(from, to.site, event{p: to, life: anyLife, kind: input, do: do, refused: refused})
}

// back brings an answer to the life that asked.
func (n *network) back(from site, to *process, life int, do func()) {
	n.send(from, to.site, event{p: to, life: life, kind: input, do: do})
}

// to brings something to a site that is no process.
func (n *network) to(from, to site, do func()) {
	n.send(from, to, event{do: do})
}

func (n *network) send(from, to site, e event) {
	if !n.open(from, to) {
		n.parked = append(n.parked, parcel{from, to, n.w.now, e})
		return
	}
	e.at = n.w.now + n.latency()
	n.w.push(e)
}

func (n *network) cut(from, to site) { n.cuts[from][to]++ }

func (n *network) heal(from, to site) {
	if n.cuts[from][to]--; n.cuts[from][to] > 0 {
		return
	}
	kept := n.parked[:0]
	for _, p := range n.parked {
		if p.from != from || p.to != to {
			kept = append(kept, p)
			continue
		}
		p.e.at = n.w.now + n.latency() + n.w.between(0, n.w.now-p.sent)
		n.w.push(p.e)
	}
	clear(n.parked[len(kept):])
	n.parked = kept
}

// fate is what happens to a request and its answer on a connection.
type fate int

const (
	arrives fate = iota
	requestBreaks
	answerBreaks
)

func (n *network) fate() fate {
	if n.trouble == 0 || !n.w.chance(n.trouble) {
		return arrives
	}
	if n.w.chance(0.5) {
		return requestBreaks
	}
	return answerBreaks
}
