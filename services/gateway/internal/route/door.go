package route

import (
	"log/slog"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/actorkit"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// Members takes answers for connections.
type Members interface {
	// Answer hands an undecoded answer to a connection; unknown ones are dropped.
	Answer(connection uint64, from string, f actorkit.Frame)
	// LinkDown says that what was on its way to a node is lost.
	LinkDown(node string)
	// LinkLost says that answers of a node are missing.
	LinkLost(node string)
}

// Hub takes what concerns the node's subscriptions.
type Hub interface {
	// Frame hands an undecoded frame to the shard of that hash.
	Frame(hash uint32, from string, f actorkit.Frame)
	// HeadsDiffer says which rooms' subscriptions are behind or void.
	HeadsDiffer(from string, rooms []string)
	// LinkDown says that a node is gone or does not answer; LinkLost that frames from it are missing.
	LinkDown(node string)
	LinkLost(node string)
}

// Door is the actorkit.Handler of a gateway. It looks only at whom a frame is for: frames are decoded by who gets them,
// on many cores, while this runs on one.
type Door struct {
	members Members
	hub     Hub
	logger  *slog.Logger
}

// NewDoor returns the handler for StartNode.
func NewDoor(members Members, hub Hub, logger *slog.Logger) *Door {
	return &Door{members: members, hub: hub, logger: logger}
}

// HandleFrame implements actorkit.Handler.
func (d *Door) HandleFrame(from actorkit.Peer, f actorkit.Frame) {
	to, ok := peek(f.Body)
	switch {
	case !ok:
		d.logger.Warn("frame of a rooms node cannot be read", "peer", from.Node)
	case to.connection != 0:
		d.members.Answer(to.connection, from.Node, f)
	case len(to.room) > 0:
		d.hub.Frame(Hash(to.room), from.Node, f)
	default:
		frame, err := Decode(f)
		if err != nil {
			d.logger.Warn("frame of a rooms node cannot be read", "peer", from.Node, "err", err)
			return
		}
		d.hub.HeadsDiffer(from.Node, frame.GetHeadsDiffer().GetRoomIds())
	}
}

// Decode returns the frame of a rooms node that f carries; it must not be changed: one of this process may be the room's own.
func Decode(f actorkit.Frame) (*roomv1.Frame, error) {
	if frame, ok := f.Decoded.(*roomv1.Frame); ok {
		return frame, nil
	}
	frame := new(roomv1.Frame)
	if err := proto.Unmarshal(f.Body, frame); err != nil {
		return nil, err
	}
	return frame, nil
}

// HandleLink implements actorkit.Handler.
func (d *Door) HandleLink(e actorkit.LinkEvent) {
	switch e.Kind {
	case actorkit.LinkDown:
		d.logger.Info("link to rooms node is down", "peer", e.Peer.Node, "err", e.Err)
		d.members.LinkDown(e.Peer.Node)
		d.hub.LinkDown(e.Peer.Node)
	case actorkit.LinkLost:
		d.logger.Info("batches from rooms node are missing", "peer", e.Peer.Node, "err", e.Err)
		d.members.LinkLost(e.Peer.Node)
		d.hub.LinkLost(e.Peer.Node)
	case actorkit.LinkUp:
		d.logger.Info("link to rooms node is up", "peer", e.Peer.Node)
	}
}

// address is whom a frame is for.
type address struct {
	room       []byte
	connection uint64
}

// peek reads the address off an encoded roomv1.Frame without decoding what it carries.
func peek(body []byte) (address, bool) {
	var a address
	for len(body) > 0 {
		num, typ, n := protowire.ConsumeTag(body)
		if n < 0 {
			return a, false
		}
		body = body[n:]
		switch {
		case num == 1 && typ == protowire.BytesType:
			a.room, n = protowire.ConsumeBytes(body)
		case num == 2 && typ == protowire.VarintType:
			a.connection, n = protowire.ConsumeVarint(body)
		default:
			n = protowire.ConsumeFieldValue(num, typ, body)
		}
		if n < 0 {
			return a, false
		}
		body = body[n:]
	}
	return a, true
}
