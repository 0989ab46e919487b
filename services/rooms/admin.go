package rooms

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/ask"
	"github.com/parley-rt/parley/libs/dcplane"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/rooms/internal/api"
)

// apiDrain bounds how long Stop waits for requests of the API: a little more than one may take.
const apiDrain = 6 * time.Second

// admin is the node's API for administrators and what brings its questions to the rooms and their answers back. nil: none.
type admin struct {
	api   *api.API
	asker *ask.Asker
}

func newAdmin(s *Service) (*admin, error) {
	if s.cfg.APIListen == "" {
		return nil, nil
	}
	a := new(admin)
	a.asker = ask.New(ask.Config{
		Self: s.cfg.Node,
		Send: s.links.Send,
		Local: func(f actorkit.Frame) error {
			node := s.links.node.Load()
			if node == nil {
				return actorkit.ErrLinkDown
			}
			s.door.HandleFrame(node.Self(), f)
			return nil
		},
		Nodes: func(room string) []string {
			return dcplane.Preferred(room, s.deps.Directory.Nodes(s.cfg.DC, ServiceName))
		},
		Blind: s.isBlind,
	})
	// Rooms answer through the Links; those of this node have none to themselves.
	s.links.self, s.links.toSelf = s.cfg.Node, a.fromSelf
	var err error
	a.api, err = api.New(s.cfg.api(), api.Deps{
		Rooms:         a.asker,
		Heads:         s.deps.Backend,
		Blocks:        s.deps.Backend,
		Others:        s.deps.APIParts,
		Logger:        s.logger,
		Meter:         s.deps.MeterProvider.Meter("github.com/parley-rt/parley/services/rooms"),
		MeterProvider: s.deps.MeterProvider,
		Tracer:        s.deps.TracerProvider.Tracer("github.com/parley-rt/parley/services/rooms"),
		Now:           time.Now,
	})
	return a, err
}

// isBlind tells whether a rooms node, this one or another, cannot ask the journal.
func (s *Service) isBlind(node string) bool {
	if node == s.cfg.Node {
		blind, _ := s.blind.state()
		return blind
	}
	link, known := s.links.Link(node)
	return known && link.Up && link.Blind
}

func (c Config) api() api.Config {
	return api.Config{Listen: c.APIListen, Auth: c.Auth, MaxContentBytes: c.MaxContentBytes}
}

var errNotForSelf = errors.New("only answers are sent to the own node")

// fromSelf takes an answer of one of this node's own rooms.
func (a *admin) fromSelf(node string, f actorkit.Frame) error {
	frame := new(roomv1.Frame)
	if err := proto.Unmarshal(f.Body, frame); err != nil {
		return fmt.Errorf("decode frame of the own node: %w", err)
	}
	if !a.Answer(node, frame) {
		return errNotForSelf
	}
	return nil
}

// Answer implements door.Answers.
func (a *admin) Answer(from string, frame *roomv1.Frame) bool {
	return a != nil && a.asker.Answer(from, frame)
}

// LinkDown implements door.Answers.
func (a *admin) LinkDown(node string) {
	if a != nil {
		a.asker.LinkDown(node)
	}
}

func (a *admin) start(ctx context.Context) error {
	if a == nil {
		return nil
	}
	return a.api.Start(ctx)
}

func (a *admin) stop(ctx context.Context) error {
	if a == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, apiDrain)
	defer cancel()
	return a.api.Stop(ctx)
}

// APIAddr is where the API listens; empty when it does not.
func (s *Service) APIAddr() string {
	if s.admin == nil {
		return ""
	}
	return s.admin.api.Addr()
}
