package actorkit_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/memory"
)

func preload(t require.TestingT, g *gate) *actorkit.Preloaded[*ledger] {
	pre, err := actorkit.Preload(context.Background(), actorkit.PersistentConfig{Key: "ledger/1", Journal: g},
		actorkit.Behavior[*ledger, order, answer](bank{}))
	require.NoError(t, err)
	return pre
}

// countRecoveries counts the calls of Recover from now on.
func (g *gate) countRecoveries() *atomic.Int32 {
	n := new(atomic.Int32)
	g.set(func(g *gate) { g.recovered = func(*persistence.Recovery) { n.Add(1) } })
	return n
}

// What is read ahead leaves the writer alone, and the next one reads only what came after.
func TestPreload(t *testing.T) {
	t.Parallel()
	d := newDesk(t, bank{}, snapshotEvery(10))
	d.deposit(14)
	d.awaitSnapshots(10)
	pre := preload(t, d.gate)
	require.EqualValues(t, 14, pre.Seq())
	require.Equal(t, 14, pre.State().Accounts["a"])
	d.deposit(3)
	want := d.look()
	require.NoError(t, want.stopped)

	recoveries := d.gate.countRecoveries()
	next, err := openDeskFrom(t, d.sys, d.gate, "next", pre, bank{}, snapshotEvery(10))
	require.NoError(t, err)
	require.True(t, next.used)
	require.Zero(t, recoveries.Load())
	require.Equal(t, want.ledger, next.look().ledger)
	require.Equal(t, want.seq, next.look().seq)
	next.deposit(3) // With the seven before it is due.
	next.awaitSnapshots(10, 20)

	d.submit(add("a", 1))
	require.ErrorIs(t, d.next().Err, persistence.ErrFenced, "the former writer")
}

func TestPreloadOfAStreamThatNeverWas(t *testing.T) {
	t.Parallel()
	g := newGate()
	pre := preload(t, g)
	d, err := openDeskFrom(t, startSystem(t), g, "t", pre, bank{})
	require.NoError(t, err)
	d.deposit(2)
}

// S7: what was read ahead is of no use when the journal has lost some of it.
func TestPreloadOfALostTail(t *testing.T) {
	t.Parallel()
	d := newDesk(t, bank{})
	journal := memory.New(memory.Options{})
	d.gate.set(func(g *gate) { g.Journal = journal })
	d, err := openDesk(t, d.sys, d.gate, "first", bank{})
	require.NoError(t, err)
	d.deposit(5)
	before, pre := d.p.Claim().Incarnation, preload(t, d.gate)
	journal.Lose("ledger/1", 3)
	next, err := openDeskFrom(t, d.sys, d.gate, "next", pre, bank{}, acknowledged(5))
	require.NoError(t, err)
	require.False(t, next.used)
	require.Equal(t, 3, next.look().ledger.Accounts["a"])
	require.NotEqual(t, before, next.p.Claim().Incarnation)
}

// What was read ahead and trimmed beyond since is of no use.
func TestPreloadTrimmedBeyond(t *testing.T) {
	t.Parallel()
	d := newDesk(t, bank{}, snapshotEvery(10))
	d.deposit(5)
	pre := preload(t, d.gate)
	d.deposit(5)
	d.awaitSnapshots(10)
	require.NoError(t, d.gate.Trim(t.Context(), d.p.Claim(), 8))
	next, err := openDeskFrom(t, d.sys, d.gate, "next", pre, bank{})
	require.NoError(t, err)
	require.False(t, next.used)
	require.Equal(t, 10, next.look().ledger.Accounts["a"])
}

// Whenever it was read ahead, the state is that of a recovery without.
func TestPreloadIsARecovery(t *testing.T) {
	t.Parallel()
	sys := startSystem(t)
	var names atomic.Int64
	name := func() string { return fmt.Sprint("t", names.Add(1)) }
	rapid.Check(t, func(t *rapid.T) {
		g := newGate()
		every := snapshotEvery(rapid.IntRange(1, 8).Draw(t, "snapshot every"))
		d, err := openDesk(t, sys, g, name(), bank{}, every)
		require.NoError(t, err)
		desks := []*desk{d}
		pre := preload(t, g)
		for range rapid.IntRange(0, 12).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"deposit", "deposit", "preload", "trim", "take over"}).Draw(t, "step") {
			case "deposit":
				d.deposit(rapid.IntRange(1, 5).Draw(t, "deposits"))
			case "preload":
				pre = preload(t, g)
			case "trim":
				if saved := g.snapshots(); len(saved) > 0 {
					_ = g.Trim(context.Background(), d.p.Claim(), saved[len(saved)-1]) // a newer snapshot may be under way
				}
			case "take over":
				d, err = openDesk(t, sys, g, name(), bank{}, every)
				require.NoError(t, err)
				desks = append(desks, d)
			}
		}
		want := d.look()
		with, err := openDeskFrom(t, sys, g, name(), pre, bank{}, every)
		require.NoError(t, err)
		require.Equal(t, want.ledger, with.look().ledger)
		require.Equal(t, want.seq, with.look().seq)
		with.deposit(1)
		for _, d := range append(desks, with) {
			_ = d.stop() // one that was overtaken cannot save
		}
	})
}
