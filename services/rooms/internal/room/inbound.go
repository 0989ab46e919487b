package room

import (
	"time"

	"github.com/parley-rt/parley/libs/actorkit"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// Inbound is a frame from a gateway node on its way to a room. It is owned by one actor at a time: whoever finishes it
// calls Release exactly once.
type Inbound struct {
	From  actorkit.Peer
	Frame *roomv1.Frame
	// Trace is the frame's trace context; its body is not kept.
	Trace actorkit.Frame
	At    time.Time

	bytes int
	node  *Meter
	slot  *Slot
}

// NewInbound takes a frame of that many bytes, which the caller has counted into the node's meter.
func NewInbound(from actorkit.Peer, frame *roomv1.Frame, trace actorkit.Frame, bytes int, node *Meter, at time.Time) *Inbound {
	trace.Body, trace.Decoded = nil, nil
	return &Inbound{From: from, Frame: frame, Trace: trace, At: at, bytes: bytes, node: node}
}

// Charge counts the frame into a room's meter too. It reports false when the room's queue is full; a frame that nobody
// waits for is small and always taken.
func (in *Inbound) Charge(s *Slot) bool {
	if in.Unanswered() {
		s.Queue.Add(in.bytes)
	} else if !s.Queue.TryAdd(in.bytes) {
		return false
	}
	in.slot = s
	return true
}

// Discharge takes the frame out of its room's meter, so that another activation can be charged with it.
func (in *Inbound) Discharge() {
	if in.slot != nil {
		in.slot.Queue.Add(-in.bytes)
		in.slot = nil
	}
}

// Release ends the frame's life.
func (in *Inbound) Release() {
	in.Discharge()
	if in.node != nil {
		in.node.Add(-in.bytes)
		in.node = nil
	}
}

// Unanswered tells whether the frame is a statement that gets no answer even when it is refused.
func (in *Inbound) Unanswered() bool {
	switch in.Frame.Kind.(type) {
	case *roomv1.Frame_Unsubscribe, *roomv1.Frame_Online:
		return true
	default:
		return false
	}
}

// PeerFrame is what another rooms node says about a room's move. It is for the host.
type PeerFrame struct {
	From  actorkit.Peer
	Frame *roomv1.Frame
}
