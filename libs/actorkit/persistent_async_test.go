package actorkit_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
)

// asyncGate is a gate that no goroutine of the stream waits for. At once, it answers before AppendAsync has returned.
type asyncGate struct {
	*gate
	atOnce bool
}

func (g asyncGate) AppendAsync(ctx context.Context, c persistence.Claim, expected uint64, events []persistence.Event, limit time.Duration, done func(uint64, error)) {
	commit := func() {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		done(g.Append(ctx, c, expected, events))
	}
	if g.atOnce {
		commit()
	} else {
		go commit()
	}
}

func asynchronous(c *actorkit.PersistentConfig) { c.Journal = asyncGate{c.Journal.(*gate), false} }

func answeringAtOnce(c *actorkit.PersistentConfig) { c.Journal = asyncGate{c.Journal.(*gate), true} }

func TestAsyncAppendsKeepOrderAndBatch(t *testing.T) {
	t.Parallel()
	d := newDesk(t, bank{}, asynchronous)
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
}

func TestAsyncAppendsThatAreAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t, bank{}, answeringAtOnce)
	for i := range 100 {
		d.submit(add("a", 1))
		if i%10 == 9 {
			d.nextN(10)
		}
	}
	require.Equal(t, 100, d.look().ledger.Accounts["a"])
}

// What an append ends with means the same, whoever waits for it.
func TestAsyncAppendsFail(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before   func(context.Context) error
		want     error
		terminal bool
	}{
		"fenced":      {func(context.Context) error { return &persistence.FencedError{Key: "ledger/1"} }, persistence.ErrFenced, true},
		"unknown":     {func(context.Context) error { return persistence.ErrUnknown }, persistence.ErrUnknown, true},
		"unnamed":     {func(context.Context) error { return errOops }, persistence.ErrUnknown, true},
		"timeout":     {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, persistence.ErrUnknown, true},
		"unavailable": {func(context.Context) error { return persistence.ErrUnavailable }, persistence.ErrUnavailable, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, bank{}, asynchronous, func(c *actorkit.PersistentConfig) { c.CommitTimeout = 200 * time.Millisecond })
			d.submit(add("a", 1))
			require.NoError(t, d.next().Err)
			d.gate.set(func(g *gate) { g.before = c.before })
			d.submit(add("a", 2))
			require.ErrorIs(t, d.next().Err, c.want)
			d.gate.set(func(g *gate) { g.before = nil })
			d.submit(add("a", 4))
			o := d.next()
			if c.terminal {
				require.ErrorIs(t, o.Err, c.want)
				return
			}
			require.NoError(t, o.Err)
			require.Equal(t, 5, o.Answer.Balance, "what failed is not in the state")
		})
	}
}

func TestStopWaitsForAnAsyncCommit(t *testing.T) {
	t.Parallel()
	d := newDesk(t, bank{}, asynchronous)
	release := d.gate.hold()
	d.submit(add("a", 1))
	d.awaitAppend()
	stopped := make(chan error, 1)
	go func() { stopped <- d.stop() }()
	select {
	case err := <-stopped:
		require.Fail(t, "stopped before the commit ended", "%v", err)
	case <-time.After(20 * time.Millisecond):
	}
	release()
	require.NoError(t, <-stopped)
	head, err := d.gate.Head(t.Context(), "ledger/1")
	require.NoError(t, err)
	require.Equal(t, uint64(1), head.LastSeq)
}
