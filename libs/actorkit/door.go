package actorkit

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/tochemey/goakt/v4/actor"

	linkv1 "github.com/parley-rt/parley/libs/protocol/link/v1"
)

// door is the one actor of a node that others address. It hands over what arrives and answers when it has.
type door struct {
	node  *Node
	inbox *inbox
}

// PreStart fails for a door that GoAkt made itself: the kind must be registered, but only StartNode makes doors.
func (d *door) PreStart(*actor.Context) error {
	if d.node == nil {
		return errors.New("a door is made by StartNode only")
	}
	return nil
}

func (d *door) Receive(rctx *actor.ReceiveContext) {
	switch m := rctx.Message().(type) {
	case *actor.PostStart:
	case *linkv1.Batch:
		rctx.Response(&linkv1.BatchReply{Incarnation: d.node.self.Incarnation, Refused: d.take(m, nil)})
	case *linkv1.Probe:
		rctx.Response(&linkv1.ProbeReply{Incarnation: d.node.self.Incarnation})
	case *LinkEvent:
		if d.node.enterHandler() {
			d.node.handleLink(*m)
			d.node.leaveHandler()
		}
	default:
		rctx.Unhandled()
	}
}

// PostStop is called also for a door that somebody else has stopped, which takes no more than a message to it (see Watch).
func (d *door) PostStop(*actor.Context) error {
	if !d.node.stopping.Load() {
		close(d.node.deaf)
	}
	return nil
}

// take hands a batch over and returns why not, if not. decoded is what its frames encode, if a neighbour has sent it.
func (d *door) take(b *linkv1.Batch, decoded []any) (refused string) {
	if !d.node.enterHandler() {
		d.node.takeReplies(b)
		return "stopping"
	}
	defer d.node.leaveHandler()
	return d.hand(b, "", decoded)
}

// hand hands the frames of a batch over that came directly, or over a third node.
func (d *door) hand(b *linkv1.Batch, over string, decoded []any) (refused string) {
	n := d.node
	if over != "" {
		if why := d.stale(b); why != "" {
			return why
		}
	}
	v := d.inbox.judge(b)
	if v.refused != "" {
		n.cfg.Logger.Warn("batch refused", slog.String("peer", b.GetFromNode()), slog.String("reason", v.refused))
		return v.refused
	}
	from := Peer{Node: b.GetFromNode(), Incarnation: b.GetFromIncarnation()}
	if l := n.link(from.Node); l != nil && l.peer.Incarnation == from.Incarnation {
		from = l.peer
		if !v.repeated { // one that a newer batch has overtaken says nothing of the peer now
			l.onHeard(time.Now(), b.GetBlind(), over)
		}
	}
	if v.lost != nil {
		n.metrics.events.Add(n.ctx, 1, n.metrics.kinds[LinkLost])
		n.handleLink(LinkEvent{Peer: from, Kind: LinkLost, Err: v.lost})
	}
	if v.repeated {
		return ""
	}
	bodies := 0
	for i, f := range b.GetFrames() {
		if r := f.GetRelay(); r != nil {
			d.relay(from, r, over)
			continue
		}
		bodies += len(f.GetBody())
		frame := Frame{Body: f.GetBody(), Traceparent: f.GetTraceparent(), Tracestate: f.GetTracestate()}
		if decoded != nil {
			frame.Decoded = decoded[i]
		}
		n.handleFrame(from, frame)
	}
	n.metrics.batches.Add(n.ctx, 1, n.metrics.received)
	n.metrics.frames.Add(n.ctx, int64(len(b.GetFrames())), n.metrics.received)
	n.metrics.bytes.Add(n.ctx, int64(bodies), n.metrics.received)
	return ""
}

// stale says why a batch that a third node has brought is not taken for the first of a new life. A third node that was frozen may
// bring one of a life that has ended, which this node never heard of; were it taken, the life that goes on would be refused for good.
// So the directory is believed when it names the one that is heard. One that knows less will soon know more.
func (d *door) stale(b *linkv1.Batch) string {
	l, heard := d.node.link(b.GetFromNode()), d.inbox.heard(b.GetFromNode())
	if heard == "" || heard == b.GetFromIncarnation() || l == nil || l.peer.Incarnation != heard {
		return ""
	}
	return fmt.Sprintf("incarnation %s is not the one that is known, %s", b.GetFromIncarnation(), heard)
}

func (n *Node) handleFrame(from Peer, f Frame) {
	defer n.recoverHandler("frame", from)
	n.handler.HandleFrame(from, f)
}

func (n *Node) handleLink(e LinkEvent) {
	defer n.recoverHandler("link event", e.Peer)
	n.handler.HandleLink(e)
}

func (n *Node) recoverHandler(what string, from Peer) {
	if r := recover(); r != nil {
		n.metrics.panics.Add(n.ctx, 1)
		n.cfg.Logger.Error("handler panicked", slog.String("handling", what), slog.String("peer", from.Node),
			slog.String("panic", fmt.Sprint(r)), slog.String("stack", string(debug.Stack())))
	}
}
