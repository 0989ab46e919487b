package actorkit

import (
	"errors"
	"fmt"
	"time"

	"github.com/tochemey/goakt/v4/actor"

	linkv1 "github.com/parley-rt/parley/libs/protocol/link/v1"
)

// probeIfDue looks in the background whether a Link that goes around could go directly. l.mu is held.
func (l *link) probeIfDue(now time.Time) {
	if l.state != linkUp || l.way.over == "" || l.way.probing || now.Before(l.way.probeAt) {
		return
	}
	l.way.probing, l.way.probedAt = true, now
	door := l.door
	l.node.loops.Add(1) // the caller is one of them, so the node is not done waiting
	go func() {
		defer l.node.loops.Done()
		l.onProbed(l.probe(door))
	}()
}

// probe asks the peer's door directly for no more than an answer.
func (l *link) probe(known *actor.PID) (door *actor.PID, err error) {
	defer recoverTask(func(e error) { err = e })
	n := l.node
	if door = known; door == nil {
		found := l.lookup().(*looked)
		if found.err != nil || found.door == nil {
			return nil, errors.Join(ErrLinkDown, found.err)
		}
		door = found.door
	}
	reply, err := n.sys.NoSender().Ask(n.ctx, door, new(linkv1.Probe), n.cfg.AskTimeout)
	if err != nil {
		l.dropConnection()
		return nil, err
	}
	if r, ok := reply.(*linkv1.ProbeReply); !ok || r.GetIncarnation() != l.peer.Incarnation {
		return nil, fmt.Errorf("%w: answered with %T", ErrRefused, reply)
	}
	return door, nil
}

func (l *link) onProbed(door *actor.PID, err error) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.way.probing = false
	switch {
	case l.state != linkUp || l.way.over == "":
	case err != nil:
		l.way.missed(now)
	default:
		l.door = door
		l.goes(now, "")
	}
}
