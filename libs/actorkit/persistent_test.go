package actorkit_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
)

func TestCommandsDuringACommitFormTheNextBatch(t *testing.T) {
	t.Parallel()
	d := newDesk(t, bank{})
	release := d.gate.hold()
	d.submit(add("a", 1))
	d.awaitAppend()
	for range 10 {
		d.submit(add("a", 1))
	}
	require.True(t, d.look().busy)
	release()
	for i, o := range d.nextN(11) {
		require.NoError(t, o.Err)
		require.Equal(t, answer{Balance: i + 1}, o.Answer)
		require.Equal(t, []uint64{uint64(i + 1)}, o.Seqs)
	}
	require.Equal(t, []int{1, 10}, d.gate.batches())
	v := d.look()
	require.False(t, v.busy)
	require.Equal(t, uint64(11), v.seq)
	require.Equal(t, 11, v.ledger.Accounts["a"])
}

// Commands that lie in the mailbox together are one batch, without waiting for more.
func TestOneMessageOfCommandsIsOneBatch(t *testing.T) {
	t.Parallel()
	d := newDesk(t, bank{})
	d.submit(add("a", 1), add("b", 1), add("c", 1, 1))
	d.nextN(3)
	require.Equal(t, []int{4}, d.gate.batches())
}

func TestCommandsSeeTheBatchBeforeThem(t *testing.T) {
	t.Parallel()
	d := newDesk(t, bank{})
	release := d.gate.hold()
	d.submit(add("a", 5), add("a", -3), add("a", -3), add("a"), add("b", 1, 1))
	d.awaitAppend()
	require.Empty(t, d.look().ledger.Accounts, "nothing is seen before the commit")
	release()
	require.Equal(t, []outcome{
		{Order: add("a", 5), Answer: answer{Balance: 5}, Seqs: []uint64{1}},
		{Order: add("a", -3), Answer: answer{Balance: 2}, Seqs: []uint64{2}},
		{Order: add("a", -3), Answer: answer{Balance: 2, Refused: true}},
		{Order: add("a"), Answer: answer{Balance: 2}},
		{Order: add("b", 1, 1), Answer: answer{Balance: 2}, Seqs: []uint64{3, 4}},
	}, d.nextN(5))
}

func TestFailureDropsTheDraft(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{persistence.ErrUnavailable, persistence.ErrOverloaded, persistence.ErrTooLarge, persistence.ErrInvalid} {
		t.Run(cause.Error(), func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, bank{})
			d.gate.set(func(g *gate) { g.before = func(context.Context) error { return fmt.Errorf("wrapped: %w", cause) } })
			d.submit(add("a", 5), add("a", -3), add("a"))
			for _, o := range d.nextN(3) {
				require.ErrorIs(t, o.Err, cause)
			}
			require.NoError(t, d.look().stopped)
			d.gate.set(func(g *gate) { g.before = nil })
			d.submit(add("a", -3), add("a", 1))
			require.True(t, d.next().Answer.Refused, "the failed deposit is gone")
			require.Equal(t, []uint64{1}, d.next().Seqs)
		})
	}
}

func TestBatchWithoutEventsNeedsNoCommit(t *testing.T) {
	t.Parallel()
	d := newDesk(t, bank{})
	d.submit(add("a"), add("a", -1))
	require.Equal(t, outcome{Order: add("a")}, d.next())
	require.True(t, d.next().Answer.Refused)
	require.Empty(t, d.gate.batches())

	// But it waits for the commit before it.
	release := d.gate.hold()
	d.submit(add("a", 7))
	d.awaitAppend()
	d.submit(add("a"))
	d.look()
	require.Empty(t, d.outcomes)
	release()
	require.Equal(t, 7, d.next().Answer.Balance)
	require.Equal(t, outcome{Order: add("a"), Answer: answer{Balance: 7}}, d.next())
}

func TestTerminalFailures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before func(context.Context) error
		want   error
	}{
		"fenced":   {func(context.Context) error { return &persistence.FencedError{Key: "ledger/1"} }, persistence.ErrFenced},
		"conflict": {func(context.Context) error { return persistence.ErrConflict }, persistence.ErrConflict},
		"closed":   {func(context.Context) error { return persistence.ErrClosed }, persistence.ErrClosed},
		"unknown":  {func(context.Context) error { return persistence.ErrUnknown }, persistence.ErrUnknown},
		"unnamed":  {func(context.Context) error { return errOops }, persistence.ErrUnknown},
		"panic":    {func(context.Context) error { panic("oops") }, persistence.ErrUnknown},
		"timeout":  {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, persistence.ErrUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, bank{}, func(c *actorkit.PersistentConfig) {
				c.CommitTimeout = 200 * time.Millisecond
				c.MaxBatchEvents = 1
			})
			d.submit(add("a", 1))
			require.NoError(t, d.next().Err)
			d.gate.set(func(g *gate) { g.before = c.before })
			d.submit(add("a", 2), add("a", 3), add("a", 4))
			for i, o := range d.nextN(3) {
				require.ErrorIs(t, o.Err, c.want)
				require.Equal(t, add("a", i+2), o.Order, "the batch first, then the queue")
			}
			d.submit(add("a", 5))
			require.ErrorIs(t, d.next().Err, c.want)
			v := d.look()
			require.ErrorIs(t, v.stopped, c.want)
			require.False(t, v.busy)
			require.Equal(t, 1, v.ledger.Accounts["a"])
			require.NoError(t, d.stop())
			require.Empty(t, d.gate.snapshots(), "a stream that may not write saves nothing")
		})
	}
}

func TestFencedByAnotherActivation(t *testing.T) {
	t.Parallel()
	sys, g := startSystem(t), newGate()
	old, err := openDesk(t, sys, g, "old", bank{})
	require.NoError(t, err)
	old.submit(add("a", 1))
	require.NoError(t, old.next().Err)
	young, err := openDesk(t, sys, g, "young", bank{})
	require.NoError(t, err)
	require.Equal(t, 1, young.look().ledger.Accounts["a"])
	old.submit(add("a", 1))
	var fenced *persistence.FencedError
	require.ErrorAs(t, old.next().Err, &fenced)
	require.Equal(t, "young", fenced.Owner)
	young.submit(add("a", 1))
	require.Equal(t, outcome{Order: add("a", 1), Answer: answer{Balance: 2}, Seqs: []uint64{2}}, young.next())
}

func TestBatchBounds(t *testing.T) {
	t.Parallel()
	d := newDesk(t, bank{}, func(c *actorkit.PersistentConfig) { c.MaxBatchEvents, c.MaxBatchBytes = 10, 4000 })
	release := d.gate.hold()
	d.submit(add("a", 1))
	d.awaitAppend()
	for range 12 {
		d.submit(add("a", 1, 1)) // 10 events are five commands.
	}
	d.submit(order{Account: "a", Changes: make([]int, 25)})                        // more events than a batch, alone
	d.submit(order{Account: "a", Changes: []int{0}, Pad: 3000})                    // together more bytes than a batch
	d.submit(order{Account: "a", Changes: []int{0}, Pad: 3000}, add("a", 1))       // one more fits behind it
	d.submit(order{Account: "a", Changes: []int{0, 0, 0}, Pad: 6 << 20}, add("a")) // more than the journal takes
	release()
	got := d.nextN(19)
	for i, o := range got[:17] {
		require.NoError(t, o.Err, i)
	}
	require.Equal(t, []int{1, 10, 10, 4, 25, 1, 2}, d.gate.batches())
	require.ErrorIs(t, got[17].Err, persistence.ErrTooLarge)
	require.Equal(t, answer{Balance: 26}, got[18].Answer)
	require.NoError(t, d.look().stopped)
}

func TestQueueBounds(t *testing.T) {
	t.Parallel()
	d := newDesk(t, bank{}, func(c *actorkit.PersistentConfig) { c.MaxQueue, c.MaxQueueBytes = 3, 1000 })
	release := d.gate.hold()
	d.submit(add("a", 1))
	d.awaitAppend()
	d.submit(add("a", 1), order{Account: "a", Pad: 900}, add("a", 1), add("a", 1), add("a", 1))
	refused := d.nextN(2)
	require.ErrorIs(t, refused[0].Err, actorkit.ErrQueueFull)
	require.Equal(t, 900, refused[0].Order.Pad, "too many bytes")
	require.ErrorIs(t, refused[1].Err, actorkit.ErrQueueFull)
	release()
	for _, o := range d.nextN(4) {
		require.NoError(t, o.Err)
	}
	d.submit(order{Account: "a", Changes: []int{0}, Pad: 10})
	require.NoError(t, d.next().Err, "the queue is free again")
}

func TestEventThatCannotBeApplied(t *testing.T) {
	t.Parallel()
	d := newDesk(t, bank{applying: func(e persistence.Event) error {
		if e.Seq == 2 {
			return errOops
		}
		return nil
	}})
	d.submit(add("a", 1), add("a", 1))
	for _, o := range d.nextN(2) {
		require.ErrorIs(t, o.Err, persistence.ErrUnknown, "it is stored, but who knows what it means")
		require.ErrorIs(t, o.Err, errOops)
	}
	require.Error(t, d.look().stopped)
	require.NoError(t, d.stop())
	require.Empty(t, d.gate.snapshots(), "half applied states are not saved")
}

// Stop waits for the commit in flight and does not answer it.
func TestStopWaitsForTheCommit(t *testing.T) {
	t.Parallel()
	d := newDesk(t, bank{})
	d.submit(add("a", 1))
	d.next()
	d.awaitAppend()
	release := d.gate.hold()
	d.submit(add("a", 2))
	d.awaitAppend()
	d.submit(add("a", 4))
	d.look()
	stopped := make(chan error, 1)
	go func() { stopped <- d.stop() }()
	select {
	case err := <-stopped:
		require.Fail(t, "stopped before the commit ended", "%v", err)
	case <-time.After(20 * time.Millisecond):
	}
	release()
	require.NoError(t, <-stopped)
	require.Empty(t, d.outcomes)
	head, err := d.gate.Head(t.Context(), "ledger/1")
	require.NoError(t, err)
	require.Equal(t, uint64(2), head.LastSeq)
	again, err := openDesk(t, d.sys, d.gate, "again", bank{})
	require.NoError(t, err)
	require.Equal(t, 3, again.look().ledger.Accounts["a"])
}

func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	d := newDesk(t, bank{})
	release := d.gate.hold()
	defer release()
	d.submit(add("a", 1))
	d.awaitAppend()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, d.p.Stop(ctx), context.Canceled)
	require.ErrorIs(t, d.p.Stopped(), actorkit.ErrStopped)
}

func TestNotRecovered(t *testing.T) {
	t.Parallel()
	g := newGate()
	require.NoError(t, g.Journal.(interface{ Close(context.Context) error }).Close(t.Context()))
	d, err := openDesk(t, startSystem(t), g, "t", bank{})
	require.Error(t, err)
	require.ErrorIs(t, d.p.Recover(t.Context()), persistence.ErrClosed)
	require.Error(t, d.p.Stopped())
	require.NoError(t, d.p.Stop(t.Context()))
	require.False(t, errors.Is(d.p.Stopped(), persistence.ErrClosed))
}

// twins is an actor of two streams; each takes its own messages only.
type twins struct {
	a, b     *stream
	outcomes chan string
}

func (w *twins) PreStart(ctx *actor.Context) error {
	return errors.Join(w.a.Recover(ctx.Context()), w.b.Recover(ctx.Context()))
}

func (w *twins) Receive(rctx *actor.ReceiveContext) {
	if w.a.Receive(rctx) || w.b.Receive(rctx) {
		return
	}
	if s, ok := rctx.Message().(submit); ok {
		for _, o := range s.orders {
			target := w.a
			if o.Account == "b" {
				target = w.b
			}
			if err := target.Submit(rctx, o, 1); err != nil {
				rctx.Err(err)
			}
		}
	}
}

func (w *twins) PostStop(ctx *actor.Context) error {
	return errors.Join(w.a.Stop(ctx.Context()), w.b.Stop(ctx.Context()))
}

func TestTwoStreamsInOneActor(t *testing.T) {
	t.Parallel()
	g := newGate()
	w := &twins{outcomes: make(chan string, 4)}
	open := func(key persistence.StreamKey) *stream {
		return actorkit.NewPersistent(
			actorkit.PersistentConfig{Key: key, Owner: "o", Journal: g}, actorkit.Behavior[*ledger, order, answer](bank{}),
			actorkit.PersistentHandler[order, answer]{Committed: func(_ *actor.ReceiveContext, batch []actorkit.Decided[order, answer]) {
				for _, d := range batch {
					w.outcomes <- fmt.Sprint(key, " ", d.Command.Account)
				}
			}})
	}
	w.a, w.b = open("ledger/a"), open("ledger/b")
	sys := startSystem(t)
	pid := spawn(t, sys, "twins", w)
	require.NoError(t, sys.NoSender().Tell(t.Context(), pid, submit{[]order{add("a", 1), add("b", 1), add("a", 1), add("b", 1)}}))
	got := []string{<-w.outcomes, <-w.outcomes, <-w.outcomes, <-w.outcomes}
	require.ElementsMatch(t, []string{"ledger/a a", "ledger/a a", "ledger/b b", "ledger/b b"}, got)
	require.NoError(t, pid.Shutdown(context.Background()))
	require.Equal(t, []uint64{2, 2}, g.snapshots())
}
