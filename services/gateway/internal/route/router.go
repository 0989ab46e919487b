package route

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/dcplane"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// Links is what a Router needs of an actorkit.Node.
type Links interface {
	Send(node string, f actorkit.Frame) error
	Link(node string) (actorkit.LinkStatus, bool)
}

// maxOwners bounds the remembered owners; about 200 bytes each.
const maxOwners = 1 << 18

// Router sends frames towards the nodes that run rooms. Safe for concurrent use; nothing blocks.
type Router struct {
	links  Links
	owners *owners
	nodes  atomic.Pointer[[]dcplane.Node]
}

// NewRouter returns a router that knows no node yet.
func NewRouter(links Links) *Router {
	r := &Router{links: links, owners: newOwners(maxOwners)}
	r.SetNodes(nil)
	return r
}

// SetNodes tells the live rooms nodes of the own datacenter. New rooms go to those that are ready; the others are asked
// for what they still run, and for anything when none is ready.
func (r *Router) SetNodes(nodes []dcplane.Node) {
	kept := slices.Clone(nodes)
	r.nodes.Store(&kept)
}

// Nodes returns what SetNodes told last. It must not be changed.
func (r *Router) Nodes() []dcplane.Node { return *r.nodes.Load() }

// Has says whether a node is among the live ones.
func (r *Router) Has(node string) bool {
	return slices.ContainsFunc(*r.nodes.Load(), func(n dcplane.Node) bool { return n.Name == node })
}

// Blind says whether a node has told that it may not know which rooms it lost.
func (r *Router) Blind(node string) bool {
	s, ok := r.links.Link(node)
	return ok && s.Up && s.Blind
}

// SetOwner remembers which node runs a room.
func (r *Router) SetOwner(room, node string) {
	if node != "" && r.owners.get(room) != node {
		r.owners.set(room, node)
	}
}

// Send sends a frame to the room's owner as far as it is known, else to the first candidate that takes it. Nodes in
// avoid, and blind ones, are passed over as long as another one takes it: a node that cannot ask the journal can start no
// room, and gives those that it has to whoever is asked for them. It returns the node. Errors: ErrUnreachable, ErrBusy.
func (r *Router) Send(f *roomv1.Frame, trace actorkit.Frame, avoid []string) (string, error) {
	body, err := proto.Marshal(f)
	if err != nil {
		return "", fmt.Errorf("encode frame of room %s: %w", f.GetRoomId(), err)
	}
	trace.Body = body
	var second []string // to be avoided, but better than nobody
	try := func(node string) (bool, error) {
		err := r.links.Send(node, trace)
		if errors.Is(err, actorkit.ErrLinkFull) {
			return false, ErrBusy
		}
		return err == nil, nil
	}
	tried := func(node string) bool {
		if slices.Contains(avoid, node) || r.Blind(node) {
			second = append(second, node)
			return true
		}
		return false
	}
	owner := r.owners.get(f.GetRoomId())
	if owner != "" && r.Has(owner) && !tried(owner) {
		if ok, err := try(owner); ok || err != nil {
			return owner, err
		}
	}
	for _, n := range r.candidates(f.GetRoomId()) {
		if n == owner || tried(n) {
			continue
		}
		if ok, err := try(n); ok || err != nil {
			return n, err
		}
	}
	for _, n := range second {
		if ok, err := try(n); ok || err != nil {
			return n, err
		}
	}
	return "", ErrUnreachable
}

// SendTo sends a frame to one node. Errors are those of the Link.
func (r *Router) SendTo(node string, f *roomv1.Frame) error {
	body, err := proto.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode frame of room %s: %w", f.GetRoomId(), err)
	}
	return r.links.Send(node, actorkit.Frame{Body: body})
}

// candidates lists the nodes to ask about a room, best first.
func (r *Router) candidates(room string) []string {
	nodes := *r.nodes.Load()
	ready := make([]dcplane.Node, 0, len(nodes))
	var rest []string
	for _, n := range nodes {
		if n.State == dcplane.StateReady {
			ready = append(ready, n)
		} else {
			rest = append(rest, n.Name)
		}
	}
	names := make([]string, 0, len(nodes))
	for _, n := range dcplane.Rank(room, ready) {
		names = append(names, n.Name)
	}
	return append(names, rest...)
}
