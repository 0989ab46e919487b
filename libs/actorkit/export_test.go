package actorkit

import (
	"context"
	"slices"
	"time"

	"github.com/tochemey/goakt/v4/actor"
)

// StartAlone is for tests that start systems with remoting beside StartNode.
var StartAlone = startAlone

// FreePort returns a port that is free on host.
func FreePort(host string) (int, error) { return freePort(host) }

// Outnumbered is what decides who goes when a cluster has fallen apart.
var Outnumbered = outnumbered

// Alive says whether a node of a system answers at a discovery address.
func Alive(ctx context.Context, system, addr string) bool {
	return newProber(system, nil).alive(ctx, addr)
}

// Farewell tells a node of a system that another one has left, as of a time.
func Farewell(ctx context.Context, system, host string, discovery, registry int, to string, now time.Time) error {
	self, err := gossipName(host, discovery, registry)
	if err != nil {
		return err
	}
	return newProber(system, nil).farewell(ctx, self, []string{to}, now)
}

// Actors returns the paths of all actors of the node that are not GoAkt's own.
func (n *Node) Actors() []string {
	var paths []string
	guardian, err := userGuardian(n.sys)
	if err != nil {
		return []string{err.Error()}
	}
	var walk func(*actor.PID)
	walk = func(parent *actor.PID) {
		for _, pid := range parent.Children() {
			paths = append(paths, pid.ID())
			walk(pid)
		}
	}
	walk(guardian)
	slices.Sort(paths)
	return paths
}

// System is the node's actor system.
func (n *Node) System() actor.ActorSystem { return n.sys }

// NewDoor is the kind of the one actor of a node, for those who would spawn it.
func NewDoor() actor.Actor { return new(door) }

// MaxFrameBytes is the largest frame that a Link takes.
const MaxFrameBytes = maxFrameBytes

var NewTerm = newTerm

func (t *Term) Extend(until time.Time) { t.extend(until) }
