package actorkit

import (
	"time"

	linkv1 "github.com/parley-rt/parley/libs/protocol/link/v1"
)

// Peer is another node as the directory describes it. Node names are unique within a datacenter.
type Peer struct {
	Node string
	// Incarnation is random per process life: a restarted node is another peer.
	Incarnation  string
	Service      string
	Host         string
	RemotingPort int
}

// Frame is one opaque unit on a Link with the W3C trace context of its cause.
type Frame struct {
	Body        []byte
	Traceparent string
	Tracestate  string
	// Decoded, if set, is the message that Body encodes: a node in the same process gets it with the frame (see Neighbours), others
	// do not. Whoever sends it and whoever gets it must not change it any more.
	Decoded any

	// relay makes it one for doors.
	relay *linkv1.Relay
}

// Handler gets what arrives at a node's door and what happens to its Links. All calls come one at a time per node and
// must not block: they hold up everything that arrives at the node. A panic is recovered, counted and logged; the frame
// is lost to the handler.
type Handler interface {
	// HandleFrame gets one frame; frames of one sender come in the order in which they were sent, each at most once.
	// from is the peer as SetPeers named it, or just Node and Incarnation when it did not. f.Body belongs to the handler.
	HandleFrame(from Peer, f Frame)
	HandleLink(e LinkEvent)
}

// LinkEventKind says what happened to a Link.
type LinkEventKind int

const (
	// LinkUp: the peer's door answered; Send takes frames.
	LinkUp LinkEventKind = iota + 1
	// LinkDown: the peer refused, did not answer in time or sent nothing for AskTimeout. Everything queued to it was
	// dropped and Send fails until LinkUp.
	LinkDown
	// LinkLost: batches from this peer are missing: a number was skipped or its incarnation changed. It comes before the
	// frames that follow the gap.
	LinkLost
)

func (k LinkEventKind) String() string {
	switch k {
	case LinkUp:
		return "up"
	case LinkDown:
		return "down"
	case LinkLost:
		return "lost"
	default:
		return "unknown"
	}
}

// LinkEvent is a change on the way to or from a peer.
type LinkEvent struct {
	Peer Peer
	Kind LinkEventKind
	// Err is why, for LinkDown and LinkLost.
	Err error
}

// LinkStatus is what a node knows about a peer right now.
type LinkStatus struct {
	Up bool
	// Down: the last attempt to reach the peer failed, or none has succeeded for AskTimeout. Neither Up nor Down: a Link
	// that was made less than AskTimeout ago is still connecting, which says nothing about the peer.
	Down bool
	// Err is why it is Down.
	Err error
	// Relayed is the third node that the Link goes over while the peer is not reached directly; empty: none.
	Relayed string
	// Blind: the peer said in its last batch that it could not ask the journal who owns its rooms for 3 s.
	Blind bool
	// LastHeard is when this life of the peer last sent a batch or answered one; zero: never. A Link goes down when that
	// is longer ago than AskTimeout. An idle peer that answers is heard every Heartbeat, whether it has a Link to us or not.
	LastHeard time.Time
}
