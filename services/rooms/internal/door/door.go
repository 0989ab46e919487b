// Package door takes what arrives at a rooms node's door: it decodes and checks frames, counts them against the node's
// bound, and hands them to the host. Its methods are called one at a time by the node and never block.
package door

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tochemey/goakt/v4/actor"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/actorkit"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/ids"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/rooms/internal/room"
)

const busyRetryAfter = 500 // ms

var errKind = errors.New("not a kind of frame that gateways send")

// Answers takes what other rooms nodes answer to this node's own questions. Its methods never block.
type Answers interface {
	// Answer says whether the frame was an answer to one of them, or a late one to an earlier.
	Answer(from string, frame *roomv1.Frame) bool
	// LinkDown says that answers of a node are lost.
	LinkDown(node string)
}

// Config of a door.
type Config struct {
	Host    *actor.PID
	Links   room.Links
	Answers Answers
	// Service is what rooms nodes are called in the directory: only they may administer.
	Service string
	// Scheduler is what scheduler nodes are called there: only they may fire, and they may do nothing else.
	Scheduler string
	// Node counts what waits on this node; a frame that does not fit is refused.
	Node          *room.Meter
	Metrics       *room.Metrics
	MeterProvider metric.MeterProvider
	// Logger should be rate-limited: a broken peer repeats itself.
	Logger *slog.Logger
	Now    func() time.Time
}

// Door is an actorkit.Handler.
type Door struct {
	cfg       Config
	malformed metric.Int64Counter
	undecoded metric.MeasurementOption
	badRoom   metric.MeasurementOption
	badKind   metric.MeasurementOption
}

var _ actorkit.Handler = (*Door)(nil)

// New returns a door.
func New(cfg Config) (*Door, error) {
	malformed, err := cfg.MeterProvider.Meter("github.com/parley-rt/parley/services/rooms").Int64Counter("parley.room.frames.malformed",
		metric.WithDescription("Frames of gateway nodes that could not be understood and were dropped."), metric.WithUnit("{frame}"))
	if err != nil {
		return nil, err
	}
	option := func(reason string) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(attribute.String("reason", reason)))
	}
	return &Door{
		cfg:       cfg,
		malformed: malformed,
		undecoded: option("undecodable"),
		badRoom:   option("room"),
		badKind:   option("kind"),
	}, nil
}

// HandleFrame takes one frame of a gateway node.
func (d *Door) HandleFrame(from actorkit.Peer, f actorkit.Frame) {
	frame, err := Parse(f.Body)
	if errors.Is(err, errKind) && d.cfg.Answers != nil && d.cfg.Answers.Answer(from.Node, frame) {
		return
	}
	if err == nil && !d.entitled(from.Service, frame) {
		err = errKind
	}
	if err != nil {
		reason := d.undecoded
		switch {
		case errors.Is(err, errKind):
			reason = d.badKind
		case errors.Is(err, ids.ErrRoomID):
			reason = d.badRoom
		}
		d.malformed.Add(context.Background(), 1, reason)
		d.cfg.Logger.Warn("frame dropped", slog.String("peer", from.Node), slog.Any("err", err))
		return
	}
	if moving(frame) {
		// Their number is bounded by what the nodes have under way.
		if err := actor.Tell(context.Background(), d.cfg.Host, &room.PeerFrame{From: from, Frame: frame}); err != nil {
			d.cfg.Logger.Error("room host does not take frames", slog.Any("err", err))
		}
		return
	}
	d.enter(from, f, frame)
}

// Parse decodes a frame and checks that it is one that rooms nodes are sent and that it names a room. One of another kind is
// returned beside the error.
func Parse(body []byte) (*roomv1.Frame, error) {
	frame := new(roomv1.Frame)
	if err := proto.Unmarshal(body, frame); err != nil {
		return nil, fmt.Errorf("decode frame: %w", err)
	}
	if !asked(frame) && !moving(frame) {
		return frame, errKind
	}
	if frame.GetCompareHeads() == nil {
		if err := ids.CheckRoom(frame.RoomId); err != nil {
			return nil, err
		}
	}
	return frame, nil
}

func (d *Door) enter(from actorkit.Peer, f actorkit.Frame, frame *roomv1.Frame) {
	in := room.NewInbound(from, frame, f, len(f.Body), d.cfg.Node, d.cfg.Now())
	if in.Unanswered() {
		d.cfg.Node.Add(len(f.Body))
	} else if !d.cfg.Node.TryAdd(len(f.Body)) {
		d.cfg.Node.Add(len(f.Body)) // Refuse takes it out again.
		room.Refuse(d.cfg.Links, d.cfg.Metrics, in, clientv1.ErrorCode_ERROR_CODE_BUSY, "too much is waiting on the node", busyRetryAfter)
		return
	}
	if err := actor.Tell(context.Background(), d.cfg.Host, in); err != nil {
		in.Release()
		d.cfg.Logger.Error("room host does not take frames", slog.Any("err", err))
	}
}

// HandleLink passes on what happens to gateway nodes. A Link that comes up is no news: rooms look at it when they owe
// that node something.
func (d *Door) HandleLink(e actorkit.LinkEvent) {
	var message any
	switch e.Kind {
	case actorkit.LinkDown:
		if d.cfg.Answers != nil {
			d.cfg.Answers.LinkDown(e.Peer.Node)
		}
		message = &room.NodeDown{Node: e.Peer.Node}
	case actorkit.LinkLost:
		message = &room.NodeLost{Node: e.Peer.Node}
	default:
		return
	}
	d.cfg.Logger.Info("link changed", slog.String("peer", e.Peer.Node), slog.String("state", e.Kind.String()), slog.Any("err", e.Err))
	if err := actor.Tell(context.Background(), d.cfg.Host, message); err != nil {
		d.cfg.Logger.Error("room host does not take link events", slog.Any("err", err))
	}
}

// asked tells whether a frame is of a kind that gateways send to rooms.
func asked(frame *roomv1.Frame) bool {
	switch frame.Kind.(type) {
	case *roomv1.Frame_Join, *roomv1.Frame_Leave, *roomv1.Frame_Publish, *roomv1.Frame_Signal, *roomv1.Frame_Read,
		*roomv1.Frame_PresenceQuery, *roomv1.Frame_Subscribe, *roomv1.Frame_Unsubscribe, *roomv1.Frame_Online,
		*roomv1.Frame_CompareHeads, *roomv1.Frame_Administer, *roomv1.Frame_Describe, *roomv1.Frame_List:
		return true
	default:
		return false
	}
}

// moving tells whether a frame is one that rooms nodes send each other when a room moves.
func moving(frame *roomv1.Frame) bool {
	switch frame.Kind.(type) {
	case *roomv1.Frame_Preload, *roomv1.Frame_Preloaded, *roomv1.Frame_HandOver, *roomv1.Frame_TakenOver, *roomv1.Frame_NotTaken:
		return true
	default:
		return false
	}
}

// entitled tells whether nodes of a service may send a frame.
func (d *Door) entitled(service string, frame *roomv1.Frame) bool {
	fires := frame.GetPublish().GetFiring() != nil
	if service == d.cfg.Scheduler {
		return fires && !frame.GetPublish().GetUnchecked()
	}
	return !fires && (service == d.cfg.Service || !administrative(frame) && !moving(frame))
}

// administrative tells whether a frame is one that only rooms nodes send each other, on behalf of administrators.
func administrative(frame *roomv1.Frame) bool {
	switch frame.Kind.(type) {
	case *roomv1.Frame_Administer, *roomv1.Frame_Describe, *roomv1.Frame_List:
		return true
	default:
		return frame.GetPublish().GetUnchecked()
	}
}
