package actorkit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	linkv1 "github.com/parley-rt/parley/libs/protocol/link/v1"
)

var (
	// errNotAround: no third node brought an answer.
	errNotAround = errors.New("no way around")
	errNoWay     = errors.New("it has no direct way to that life of the peer")
)

// waiting is where an Ask that goes around waits.
type waiting struct {
	number uint64
	// back takes what comes, from the third node that it names. Nobody waits to put something there: what does not fit is
	// one of many answers to the same batch.
	back chan returned
}

type returned struct {
	by string
	r  *linkv1.Relay
}

// detour is the Ask of one batch over third nodes, one after the other.
type detour struct {
	*waiting
	link *link
	ways []string
	// patient: frames depend on it.
	patient bool
	// limit bounds it: a Link that is down has another way to try.
	limit time.Duration
}

// newDetour is called with l.mu held.
func (l *link) newDetour(ways []string) *detour {
	d := &detour{
		waiting: &waiting{number: l.number, back: make(chan returned, 2*waysTried)},
		link:    l, ways: ways, patient: l.state == linkUp, limit: l.node.cfg.AskTimeout,
	}
	if !d.patient {
		d.limit /= 2
	}
	l.waiting = d.waiting
	return d
}

// run sends the batch that next has formed.
func (d *detour) run(out *batch, bodies int) (m any) {
	defer recoverTask(func(err error) { m = &answered{err: err} })
	l, n := d.link, d.link.node
	start, frames := time.Now(), int64(out.len())
	batch, err := proto.Marshal(out.seal())
	out.release()
	if err != nil {
		return &answered{err: fmt.Errorf("encode batch: %w", err)}
	}
	ctx, cancel := context.WithTimeout(n.ctx, d.limit)
	defer cancel()
	over, reply, err := d.ask(ctx, batch)
	l.mu.Lock()
	if l.waiting == d.waiting {
		l.waiting = nil
	}
	l.mu.Unlock()
	if err == nil {
		err = checkReply(reply, l.peer)
	}
	if err == nil {
		n.metrics.sentBatch(n.ctx, time.Since(start), frames, int64(bodies))
		n.metrics.relayed.Add(n.ctx, 1, n.metrics.sent)
	}
	return &answered{err: err, over: over}
}

// ask asks one third node after the other, each when the one before has no way or brings nothing in its share of the time; what comes
// late is as good. It may come to that the peer gets the batch twice: its number tells.
func (d *detour) ask(ctx context.Context, batch []byte) (over string, reply *linkv1.BatchReply, err error) {
	for {
		err, full := error(errNotAround), false
		for _, third := range d.ways {
			by, reply, why := d.askOver(ctx, third, batch)
			if why == nil {
				return by, reply, nil
			}
			if ctx.Err() == nil && errors.Is(why, ErrLinkFull) {
				full = true
			} else {
				d.link.mu.Lock()
				d.link.way.failed(third)
				d.link.mu.Unlock()
			}
			err = fmt.Errorf("%w: over %s: %w", errNotAround, third, why)
			if ctx.Err() != nil {
				return "", nil, err
			}
		}
		if !full || !d.patient {
			return "", nil, err
		}
		if !d.pause(ctx) {
			return "", nil, err
		}
	}
}

// pause lets a full queue empty.
func (d *detour) pause(ctx context.Context) bool {
	t := time.NewTimer(d.link.node.cfg.Heartbeat / 10)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// askOver sends the batch to a third node and waits for what comes back, over whomever.
func (d *detour) askOver(ctx context.Context, third string, batch []byte) (by string, reply *linkv1.BatchReply, err error) {
	l, n := d.link, d.link.node
	carrier := n.link(third)
	if carrier == nil {
		return "", nil, ErrUnknownPeer
	}
	err = carrier.send(Frame{relay: &linkv1.Relay{
		FromNode: n.self.Node, FromIncarnation: n.self.Incarnation,
		ToNode: l.peer.Node, ToIncarnation: l.peer.Incarnation, Number: d.number,
		Content: &linkv1.Relay_Batch{Batch: batch},
	}})
	if err != nil {
		return "", nil, err
	}
	share := time.NewTimer(d.limit / time.Duration(len(d.ways)))
	defer share.Stop()
	look := time.NewTicker(max(n.cfg.Heartbeat/10, time.Millisecond))
	defer look.Stop()
	for {
		select {
		case got := <-d.back:
			switch content := got.r.GetContent().(type) {
			case *linkv1.Relay_Reply:
				reply = new(linkv1.BatchReply)
				if err := proto.Unmarshal(content.Reply, reply); err != nil {
					return "", nil, fmt.Errorf("decode reply: %w", err)
				}
				return got.by, reply, nil
			case *linkv1.Relay_Refused:
				switch {
				case got.by != third: // late
				case content.Refused == linkv1.RelayRefusal_RELAY_REFUSAL_FULL:
					return "", nil, ErrLinkFull
				default:
					return "", nil, errNoWay
				}
			}
		case <-look.C:
			if !carrier.direct.Load() {
				return "", nil, ErrLinkDown
			}
		case <-share.C:
			return "", nil, context.DeadlineExceeded
		case <-ctx.Done():
			return "", nil, context.DeadlineExceeded
		}
	}
}

// relay handles a frame that is for doors. from sent it, over is the third node that brought it here.
func (d *door) relay(from Peer, r *linkv1.Relay, over string) {
	n := d.node
	batch, isBatch := r.GetContent().(*linkv1.Relay_Batch)
	switch {
	case isBatch && over != "": // one hop and no more
	case isBatch && r.GetToNode() == n.self.Node:
		d.takeRelayed(from, r, batch.Batch)
	case isBatch:
		if r.GetFromNode() == from.Node && r.GetFromIncarnation() == from.Incarnation {
			n.forward(r)
		}
	case r.GetFromNode() == n.self.Node:
		n.takeReply(from.Node, r)
	case r.GetToNode() == from.Node:
		n.bringBack(r)
	}
}

// takeRelayed takes a batch that a third node has brought, and gives it the answer.
func (d *door) takeRelayed(third Peer, r *linkv1.Relay, encoded []byte) {
	b := new(linkv1.Batch)
	if err := proto.Unmarshal(encoded, b); err != nil || b.GetFromNode() != r.GetFromNode() || b.GetFromNode() == d.node.self.Node {
		return
	}
	reply, err := proto.Marshal(&linkv1.BatchReply{Incarnation: d.node.self.Incarnation, Refused: d.hand(b, third.Node, nil)})
	if err != nil {
		return
	}
	answer := answerTo(r)
	answer.Content = &linkv1.Relay_Reply{Reply: reply}
	_ = d.node.sendRelay(third.Node, third.Incarnation, answer) // or the asker's time will be over
}

// forward passes a batch on, or says why not.
func (n *Node) forward(r *linkv1.Relay) {
	err := n.sendRelay(r.GetToNode(), r.GetToIncarnation(), r)
	if err == nil {
		n.metrics.relayed.Add(n.ctx, 1, n.metrics.forwarded)
		return
	}
	n.metrics.relayed.Add(n.ctx, 1, n.metrics.refused)
	why := linkv1.RelayRefusal_RELAY_REFUSAL_NO_WAY
	if errors.Is(err, ErrLinkFull) {
		why = linkv1.RelayRefusal_RELAY_REFUSAL_FULL
	}
	answer := answerTo(r)
	answer.Content = &linkv1.Relay_Refused{Refused: why}
	n.bringBack(answer)
}

// bringBack passes an answer on. If it cannot, the asker's time will be over.
func (n *Node) bringBack(r *linkv1.Relay) {
	_ = n.sendRelay(r.GetFromNode(), r.GetFromIncarnation(), r)
}

// sendRelay queues a frame for a peer's door; a batch only if the Link to it is direct.
func (n *Node) sendRelay(node, incarnation string, r *linkv1.Relay) error {
	l := n.link(node)
	if l == nil || l.peer.Incarnation != incarnation {
		return ErrUnknownPeer
	}
	return l.send(Frame{relay: r})
}

// answerTo is what goes back to the sender of a batch, without its content.
func answerTo(r *linkv1.Relay) *linkv1.Relay {
	return &linkv1.Relay{
		FromNode: r.GetFromNode(), FromIncarnation: r.GetFromIncarnation(),
		ToNode: r.GetToNode(), ToIncarnation: r.GetToIncarnation(), Number: r.GetNumber(),
	}
}

// takeReply hands what came back to the Link that waits for it.
func (n *Node) takeReply(by string, r *linkv1.Relay) {
	l := n.link(r.GetToNode())
	if l == nil || r.GetFromIncarnation() != n.self.Incarnation || l.peer.Incarnation != r.GetToIncarnation() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting == nil || l.waiting.number != r.GetNumber() {
		return
	}
	select {
	case l.waiting.back <- returned{by, r}:
	default:
	}
}

// takeReplies takes nothing of a batch but the answers that a node waits for which is stopping.
func (n *Node) takeReplies(b *linkv1.Batch) {
	for _, f := range b.GetFrames() {
		if r := f.GetRelay(); r.GetFromNode() == n.self.Node && r.GetBatch() == nil {
			n.takeReply(b.GetFromNode(), r)
		}
	}
}
