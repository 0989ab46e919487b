package actorkittest

import (
	"context"
	"testing"
	"time"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/actorkit"
)

// Probe is an actor that hands what it gets to the test.
type Probe struct {
	pid  *actor.PID
	sys  actor.ActorSystem
	msgs chan any
}

// maxProbed is how many messages a probe keeps. More are a panic: the probe stops.
const maxProbed = 100_000

// StartProbe spawns a probe in sys; it stops with the system.
func StartProbe(t testing.TB, sys actor.ActorSystem, name string) *Probe {
	t.Helper()
	p := &Probe{sys: sys, msgs: make(chan any, maxProbed)}
	pid, err := sys.Spawn(context.Background(), name, &probeActor{msgs: p.msgs}, actorkit.SpawnOptions()...)
	if err != nil {
		t.Fatalf("spawn probe %s: %v", name, err)
	}
	p.pid = pid
	return p
}

// PID returns the probe's address.
func (p *Probe) PID() *actor.PID { return p.pid }

// Tell sends a message with the probe as its sender.
func (p *Probe) Tell(t testing.TB, to *actor.PID, msg any) {
	t.Helper()
	if err := p.pid.Tell(context.Background(), to, msg); err != nil {
		t.Fatalf("tell %s: %v", to.Name(), err)
	}
}

// Next returns the next message, waiting for it.
func (p *Probe) Next(t testing.TB) any {
	t.Helper()
	timeout := time.NewTimer(Patience)
	defer timeout.Stop()
	select {
	case m := <-p.msgs:
		return m
	case <-timeout.C:
		t.Fatalf("probe %s got no message within %v", p.pid.Name(), Patience)
		return nil
	}
}

// Empty fails the test when a message has arrived that Next has not returned.
func (p *Probe) Empty(t testing.TB) {
	t.Helper()
	select {
	case m := <-p.msgs:
		t.Fatalf("probe %s got %#v", p.pid.Name(), m)
	default:
	}
}

// Expect returns the next message, which must be a T.
func Expect[T any](t testing.TB, p *Probe) T {
	t.Helper()
	m := p.Next(t)
	v, ok := m.(T)
	if !ok {
		t.Fatalf("probe %s got %#v, not a %T", p.pid.Name(), m, v)
	}
	return v
}

type probeActor struct{ msgs chan any }

func (*probeActor) PreStart(*actor.Context) error { return nil }

func (a *probeActor) Receive(rctx *actor.ReceiveContext) {
	if _, ok := rctx.Message().(*actor.PostStart); ok {
		return
	}
	select {
	case a.msgs <- rctx.Message():
	default:
		panic("probe is full")
	}
}

func (*probeActor) PostStop(*actor.Context) error { return nil }
