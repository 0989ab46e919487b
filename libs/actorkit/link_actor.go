package actorkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/tochemey/goakt/v4/actor"

	linkv1 "github.com/parley-rt/parley/libs/protocol/link/v1"
)

// wake is the Link actor's cue to look at its queue.
type wake struct{}

// looked and answered are the results of a Link's tasks. They never leave the node.
type (
	looked struct {
		door *actor.PID
		err  error
	}
	answered struct{ err error }
)

// linkActor runs a Link's tasks, one at a time.
type linkActor struct{ link *link }

func (a *linkActor) PreStart(*actor.Context) error { return nil }

func (a *linkActor) Receive(rctx *actor.ReceiveContext) {
	switch m := rctx.Message().(type) {
	case *actor.PostStart, wake:
	case *looked:
		a.link.onLooked(time.Now(), m)
	case *answered:
		a.link.onAnswered(time.Now(), m)
	default:
		rctx.Unhandled()
		return
	}
	task, done := a.link.next(time.Now(), rctx.Self())
	if done {
		rctx.Shutdown()
		return
	}
	if task != nil && a.link.node.beginTask() {
		rctx.PipeTo(rctx.Self(), func() (any, error) {
			defer a.link.node.tasks.Done()
			return task()
		})
	}
}

func (a *linkActor) PostStop(*actor.Context) error { return nil }

// lookup finds the peer's door. It runs in a task.
func (l *link) lookup() (m any, _ error) {
	defer recoverTask(func(err error) { m = &looked{err: err} })
	ctx, cancel := context.WithTimeout(l.node.ctx, l.node.cfg.AskTimeout)
	defer cancel()
	door, err := l.node.sys.NoSender().RemoteLookup(ctx, l.peer.Host, l.peer.RemotingPort, doorPath(l.peer.Node))
	if err != nil {
		l.dropConnection()
	}
	return &looked{door: door, err: err}, nil
}

// dropConnection makes the next attempt dial anew. A server of GoAkt that was stopped goes on answering on connections it
// had, with errors, as long as its process lives; a request whose time is over makes the client throw one away.
func (l *link) dropConnection() {
	ctx, cancel := context.WithDeadline(l.node.ctx, time.Unix(0, 0))
	defer cancel()
	_, _ = l.node.sys.NoSender().RemoteLookup(ctx, l.peer.Host, l.peer.RemotingPort, doorPath(l.peer.Node))
}

// ask sends the batch that next has formed. It runs in a task.
func (l *link) ask(self, door *actor.PID, bodies int) (m *answered) {
	defer recoverTask(func(err error) { m = &answered{err: err} })
	n := l.node
	start := time.Now()
	msg := l.out.seal()
	frames := int64(l.out.len())
	reply, err := exchange(n.ctx, n.cfg.AskTimeout, func(ctx context.Context, timeout time.Duration) (any, error) {
		return self.Ask(ctx, door, msg, timeout)
	})
	l.out.release()
	if err == nil {
		err = checkReply(reply, l.peer)
	} else {
		l.dropConnection()
	}
	if err == nil {
		n.metrics.rtt.Record(n.ctx, time.Since(start).Seconds())
		n.metrics.batches.Add(n.ctx, 1, n.metrics.sent)
		n.metrics.frames.Add(n.ctx, frames, n.metrics.sent)
		n.metrics.bytes.Add(n.ctx, int64(bodies), n.metrics.sent)
	}
	return &answered{err: err}
}

// exchange asks, and asks once more in the time left when the connection broke: the receiver recognises a batch that it
// has taken by its number, so one lost connection need not cost the frames.
func exchange(ctx context.Context, timeout time.Duration, ask func(context.Context, time.Duration) (any, error)) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	reply, err := ask(ctx, timeout)
	if err == nil || !connectionBroke(err) {
		return reply, err
	}
	deadline, _ := ctx.Deadline()
	if left := time.Until(deadline); left > 0 {
		return ask(ctx, left)
	}
	return reply, err
}

func connectionBroke(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// recoverTask turns a panic in a task, which would end the process, into a result.
func recoverTask(fail func(error)) {
	if r := recover(); r != nil {
		fail(fmt.Errorf("panic in a task: %v", r))
	}
}

func checkReply(reply any, peer Peer) error {
	r, ok := reply.(*linkv1.BatchReply)
	switch {
	case !ok:
		return fmt.Errorf("%w: answered with %T", ErrRefused, reply)
	case r.GetRefused() != "":
		return fmt.Errorf("%w: %s", ErrRefused, r.GetRefused())
	case r.GetIncarnation() != peer.Incarnation:
		return fmt.Errorf("%w: answered by incarnation %s", ErrRefused, r.GetIncarnation())
	}
	return nil
}
