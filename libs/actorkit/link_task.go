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

// looked and answered are the results of a Link's tasks.
type (
	looked struct {
		door *actor.PID
		err  error
	}
	answered struct {
		err  error
		over string // the third node, if any
	}
)

// run is the Link's goroutine: it carries out one task after the other until the Link is closed, the node stops or another one has
// taken its turn.
//
// It is no actor. GoAkt writes the coming and going of a clustered system's actors to the cluster's registry, and when that
// fails for the end of one, as it does while a member that keeps a part of the registry hangs, it stops the whole system.
func (l *link) run(turn int) {
	defer l.node.loops.Done()
	for {
		select {
		case <-l.wake:
		case <-l.node.ctx.Done():
			return
		}
		l.gather()
		for {
			task, done := l.next(time.Now(), turn)
			if done {
				return
			}
			if task == nil {
				break
			}
			switch m := task().(type) {
			case *looked:
				l.onLooked(time.Now(), turn, m)
			case *answered:
				l.onAnswered(time.Now(), turn, m)
			}
		}
	}
}

// lookup finds the peer's door.
func (l *link) lookup() (m any) {
	defer recoverTask(func(err error) { m = &looked{err: err} })
	ctx, cancel := context.WithTimeout(l.node.ctx, l.node.cfg.AskTimeout)
	defer cancel()
	door, err := l.node.sys.NoSender().RemoteLookup(ctx, l.peer.Host, l.peer.RemotingPort, doorPath(l.peer.Node))
	if err != nil {
		l.dropConnection()
	}
	return &looked{door: door, err: err}
}

// dropConnection makes the next attempt dial anew. A server of GoAkt that was stopped goes on answering on connections it
// had, with errors, as long as its process lives; a request whose time is over makes the client throw one away.
func (l *link) dropConnection() {
	ctx, cancel := context.WithDeadline(l.node.ctx, time.Unix(0, 0))
	defer cancel()
	_, _ = l.node.sys.NoSender().RemoteLookup(ctx, l.peer.Host, l.peer.RemotingPort, doorPath(l.peer.Node))
}

// ask sends the batch that next has formed.
func (l *link) ask(door *actor.PID, out *batch, bodies int) (m any) {
	defer recoverTask(func(err error) { m = &answered{err: err} })
	n := l.node
	if to := n.cfg.Neighbours.find(l.peer.Incarnation); to != nil {
		return l.hand(to, out, bodies)
	}
	start := time.Now()
	msg := out.seal()
	frames := int64(out.len())
	reply, err := exchange(n.ctx, n.cfg.AskTimeout, func(ctx context.Context, timeout time.Duration) (any, error) {
		return n.sys.NoSender().Ask(ctx, door, msg, timeout)
	})
	out.release()
	if err == nil {
		err = checkReply(reply, l.peer)
	} else {
		l.dropConnection()
	}
	if err == nil {
		n.metrics.sentBatch(n.ctx, time.Since(start), frames, int64(bodies))
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
