package actorkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/persistence"
)

// commit is a batch on its way to the journal. Who has its result, the journal or a task that waited for it, fills last and err
// before it closes done and returns the commit to the actor as a message.
type commit[S, C, R any] struct {
	p      *Persistent[S, C, R]
	batch  []Decided[C, R]
	events []persistence.Event
	bytes  int
	last   uint64
	err    error
	done   chan struct{}
}

// form turns what is queued into batches until one is in flight: batches without events need no commit.
func (p *Persistent[S, C, R]) form(rctx *actor.ReceiveContext) {
	for p.inFlight == nil && p.stopped == nil && len(p.queue) > 0 {
		c := p.decide(rctx)
		switch {
		case len(c.events) > 0:
			p.start(rctx, c)
		case len(c.batch) > 0 && p.handler.Committed != nil:
			p.handler.Committed(rctx, c.batch)
		}
	}
}

// decide takes commands from the queue, up to the bounds of a batch, and decides them one after the other on a draft.
func (p *Persistent[S, C, R]) decide(rctx *actor.ReceiveContext) *commit[S, C, R] {
	c := &commit[S, C, R]{p: p, done: make(chan struct{})}
	draft, now := p.behavior.Draft(p.state), p.cfg.Now()
	counts := make([]int, 0, min(len(p.queue), p.cfg.MaxBatchEvents))
	taken := 0
	var tooLarge error
	for _, q := range p.queue {
		if taken == p.cfg.MaxBatchEvents {
			break
		}
		events, reply := draft.Decide(q.cmd, p.seq+uint64(len(c.events))+1, now)
		bytes := eventBytes(events)
		if taken > 0 && (len(c.events)+len(events) > p.cfg.MaxBatchEvents || c.bytes+bytes > p.cfg.MaxBatchBytes) {
			break
		}
		if tooLarge = checkLimits(events, bytes); tooLarge != nil {
			// The draft holds what cannot be stored, so it is of no use to later commands; earlier ones, if any, go first.
			break
		}
		taken++
		counts = append(counts, len(events))
		c.events = append(c.events, events...)
		c.bytes += bytes
		c.batch = append(c.batch, Decided[C, R]{Command: q.cmd, Reply: reply})
	}
	// c.events has stopped growing: hand out its parts.
	for i := range c.events {
		e := &c.events[i]
		e.Seq, e.Epoch, e.At = p.seq+uint64(i)+1, p.claim.Epoch, now
	}
	from := 0
	for i, n := range counts {
		c.batch[i].Events = c.events[from : from+n : from+n]
		from += n
	}
	if taken == 0 && tooLarge != nil {
		bad := p.queue[0].cmd
		p.dequeue(1)
		p.failed(rctx, []C{bad}, tooLarge)
		return c
	}
	p.dequeue(taken)
	return c
}

func (p *Persistent[S, C, R]) dequeue(n int) {
	for _, q := range p.queue[:n] {
		p.queueBytes -= q.bytes
	}
	rest := copy(p.queue, p.queue[n:])
	clear(p.queue[rest:])
	p.queue = p.queue[:rest]
	if rest == 0 && cap(p.queue) > maxKeptFrames {
		p.queue = nil
	}
}

func eventBytes(events []persistence.Event) int {
	n := 0
	for i := range events {
		n += len(events[i].Payload) + len(events[i].Meta)
	}
	return n
}

// checkLimits finds what the journal would refuse anyway, so that one command cannot fail a whole batch.
func checkLimits(events []persistence.Event, bytes int) error {
	if len(events) > persistence.MaxAppendEvents || bytes > persistence.MaxAppendBytes {
		return fmt.Errorf("command with %d events of %d bytes: %w", len(events), bytes, persistence.ErrTooLarge)
	}
	for i := range events {
		if n := len(events[i].Payload); n > persistence.MaxPayloadBytes {
			return fmt.Errorf("event of %d bytes: %w", n, persistence.ErrTooLarge)
		}
	}
	return nil
}

// start sends a batch to the journal in a task.
func (p *Persistent[S, C, R]) start(rctx *actor.ReceiveContext, c *commit[S, C, R]) {
	ctx, appended := context.WithoutCancel(rctx.Context()), func(error) {}
	if p.handler.Appending != nil {
		ctx, appended = p.handler.Appending(ctx, c.batch)
	}
	claim, expected := p.claim, p.seq
	p.inFlight = c
	self := rctx.Self()
	if p.async != nil {
		p.async.AppendAsync(ctx, claim, expected, c.events, p.cfg.CommitTimeout, func(last uint64, err error) {
			c.last, c.err = last, err
			c.judge(expected)
			appended(c.err)
			close(c.done)
			_ = self.Tell(context.Background(), self, c) // Fails only when the actor is stopping, and Stop looks at done.
		})
		return
	}
	err := self.PipeTo(ctx, self, func() (any, error) {
		c.run(ctx, claim, expected, appended)
		return c, nil
	})
	if err != nil {
		// The actor is stopping and the task will not run.
		c.err = fmt.Errorf("%w: %w", ErrStopped, err)
		appended(c.err)
		close(c.done)
		p.settle(rctx, c)
	}
}

// run appends. It runs in a task.
func (c *commit[S, C, R]) run(ctx context.Context, claim persistence.Claim, expected uint64, appended func(error)) {
	defer close(c.done)
	defer func() { appended(c.err) }()
	defer recoverTask(func(err error) { c.err = fmt.Errorf("%w: %w", persistence.ErrUnknown, err) })
	ctx, cancel := context.WithTimeout(ctx, c.p.cfg.CommitTimeout)
	defer cancel()
	c.last, c.err = c.p.cfg.Journal.Append(ctx, claim, expected, c.events)
	c.judge(expected)
}

// judge checks and classifies the journal's answer.
func (c *commit[S, C, R]) judge(expected uint64) {
	if want := expected + uint64(len(c.events)); c.err == nil && c.last != want {
		c.err = fmt.Errorf("append ended at seq %d, not %d: %w", c.last, want, persistence.ErrConflict)
	}
	if c.err != nil {
		c.err = classify(fmt.Errorf("append to %s: %w", c.p.cfg.Key, c.err))
	}
}

// classify gives every error a known class; one that the journal's contract does not name leaves the outcome unknown.
func classify(err error) error {
	if isTerminal(err) || isCertain(err) {
		return err
	}
	return fmt.Errorf("%w: %w", persistence.ErrUnknown, err)
}

// isTerminal tells whether the stream may not write after err.
func isTerminal(err error) bool {
	return errors.Is(err, persistence.ErrUnknown) || errors.Is(err, persistence.ErrFenced) ||
		errors.Is(err, persistence.ErrConflict) || errors.Is(err, persistence.ErrClosed) || errors.Is(err, ErrStopped)
}

// isCertain tells whether the batch is certainly not stored and the stream may go on.
func isCertain(err error) bool {
	return errors.Is(err, persistence.ErrUnavailable) || errors.Is(err, persistence.ErrOverloaded) ||
		errors.Is(err, persistence.ErrTooLarge) || errors.Is(err, persistence.ErrInvalid)
}

// settle takes the result of a commit and forms the next batch.
func (p *Persistent[S, C, R]) settle(rctx *actor.ReceiveContext, c *commit[S, C, R]) {
	p.inFlight = nil
	if c.err == nil {
		if err := p.apply(c.events); err != nil {
			// The events are durable all the same: what became of them is known when another activation has read them.
			c.err = fmt.Errorf("%w: %w", persistence.ErrUnknown, err)
		}
	}
	switch {
	case c.err == nil:
		p.snaps.count(len(c.events), c.bytes)
		if p.handler.Committed != nil {
			p.handler.Committed(rctx, c.batch)
		}
	case isTerminal(c.err):
		p.halt(rctx, commands(c.batch), c.err)
	default:
		p.failed(rctx, commands(c.batch), c.err)
	}
	p.form(rctx)
	p.maybeSnapshot(rctx)
}

// apply moves the state over durable events.
func (p *Persistent[S, C, R]) apply(events []persistence.Event) error {
	p.applying = true
	for _, e := range events {
		next, err := p.behavior.Apply(p.state, e)
		if err != nil {
			return fmt.Errorf("apply event %d of %s: %w", e.Seq, p.cfg.Key, err)
		}
		p.state, p.seq = next, e.Seq
	}
	p.applying = false
	return nil
}

// halt ends the stream: cmds and everything queued fail.
func (p *Persistent[S, C, R]) halt(rctx *actor.ReceiveContext, cmds []C, err error) {
	if p.stopped == nil {
		p.stopped = err
		p.cfg.Logger.Warn("stream stopped", slog.String("stream", string(p.cfg.Key)), slog.Any("err", err))
	}
	rest := make([]C, len(p.queue))
	for i, q := range p.queue {
		rest[i] = q.cmd
	}
	p.queue, p.queueBytes = nil, 0
	p.failed(rctx, cmds, err)
	p.failed(rctx, rest, err)
}

func (p *Persistent[S, C, R]) failed(rctx *actor.ReceiveContext, cmds []C, err error) {
	if len(cmds) > 0 && p.handler.Failed != nil {
		p.handler.Failed(rctx, cmds, err)
	}
}

func commands[C, R any](batch []Decided[C, R]) []C {
	cmds := make([]C, len(batch))
	for i := range batch {
		cmds[i] = batch[i].Command
	}
	return cmds
}
