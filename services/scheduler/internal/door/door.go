// Package door takes what arrives at a scheduler node's door: answers of rooms, and what other scheduler nodes ask and answer. Its
// methods are called one at a time by the node and never block.
package door

import (
	"errors"
	"fmt"
	"log/slog"

	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/actorkit"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// Rooms takes answers of rooms: *ask.Asker.
type Rooms interface {
	Answer(from string, frame *roomv1.Frame) bool
	LinkDown(node string)
}

// Desk takes frames of scheduler nodes: *desk.Desk.
type Desk interface {
	Handle(from string, f actorkit.Frame) error
	LinkDown(node string)
}

// Config of a Door. All is required.
type Config struct {
	Rooms Rooms
	Desk  Desk
	// What the nodes of the two services are called in the directory.
	RoomsService, SchedulerService string
	// Logger should be rate-limited: a broken peer repeats itself.
	Logger *slog.Logger
}

// Door is an actorkit.Handler.
type Door struct{ cfg Config }

var _ actorkit.Handler = (*Door)(nil)

// New returns a door.
func New(cfg Config) *Door { return &Door{cfg: cfg} }

var (
	errService = errors.New("not a service that schedulers hear")
	errAnswer  = errors.New("not an answer of a room")
)

// HandleFrame implements actorkit.Handler.
func (d *Door) HandleFrame(from actorkit.Peer, f actorkit.Frame) {
	if err := d.handle(from, f); err != nil {
		d.cfg.Logger.Warn("frame dropped", slog.String("peer", from.Node), slog.Any("err", err))
	}
}

func (d *Door) handle(from actorkit.Peer, f actorkit.Frame) error {
	switch from.Service {
	case d.cfg.RoomsService:
		frame := new(roomv1.Frame)
		if err := proto.Unmarshal(f.Body, frame); err != nil {
			return fmt.Errorf("decode frame of a rooms node: %w", err)
		}
		// Those of an earlier life of this node are none of ours.
		if !d.cfg.Rooms.Answer(from.Node, frame) && frame.Connection == 0 {
			return errAnswer
		}
		return nil
	case d.cfg.SchedulerService:
		return d.cfg.Desk.Handle(from.Node, f)
	default:
		return errService
	}
}

// HandleLink implements actorkit.Handler.
func (d *Door) HandleLink(e actorkit.LinkEvent) {
	if e.Kind == actorkit.LinkDown {
		d.cfg.Rooms.LinkDown(e.Peer.Node)
		d.cfg.Desk.LinkDown(e.Peer.Node)
	}
}
