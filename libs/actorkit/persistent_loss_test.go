package actorkit_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/memory"
	"github.com/parley-rt/parley/libs/persistence/persistencetest"
	"github.com/parley-rt/parley/libs/persistence/sqlite"
)

func acknowledged(seq uint64) func(*actorkit.PersistentConfig) {
	return func(c *actorkit.PersistentConfig) { c.Acknowledged = seq }
}

// S7: the journal's file is put back to an older copy between two activations. The second one says so by another
// incarnation, once, and goes on with what there is.
func TestLostTailIsAnnounced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.db")
	sys := startSystem(t)
	log := &strings.Builder{}
	logging := func(c *actorkit.PersistentConfig) { c.Logger = slog.New(slog.NewTextHandler(log, nil)) }
	// live runs one activation which makes n events, and returns its claim as it was and its last seq.
	live := func(name string, n int, edit ...func(*actorkit.PersistentConfig)) (persistence.Claim, uint64) {
		b, err := sqlite.Open(t.Context(), path, sqlite.Options{})
		require.NoError(t, err)
		d, err := openDesk(t, sys, &gate{Journal: b, entered: make(chan struct{}, 1000)}, name, bank{}, append(edit, logging)...)
		require.NoError(t, err)
		claim := d.p.Claim()
		d.deposit(n)
		view := d.look()
		require.EqualValues(t, view.seq, view.ledger.Events)
		require.NoError(t, d.stop())
		head, err := b.Head(t.Context(), "ledger/1")
		require.NoError(t, err)
		require.Equal(t, claim.Incarnation, head.Incarnation)
		require.NoError(t, b.Close(context.Background()))
		return claim, view.seq
	}
	first, seq := live("first", 5)
	older, err := os.ReadFile(path)
	require.NoError(t, err)
	second, seq := live("second", 5, acknowledged(seq))
	require.EqualValues(t, 10, seq)
	require.Equal(t, first.Incarnation, second.Incarnation)
	require.Empty(t, log.String())

	require.NoError(t, os.WriteFile(path, older, 0o600))
	third, seq := live("third", 2, acknowledged(seq))
	require.EqualValues(t, 7, seq, "it goes on from what was left")
	require.NotEqual(t, second.Incarnation, third.Incarnation)
	require.Contains(t, log.String(), "level=WARN")
	require.Contains(t, log.String(), "seq=5 acknowledged=10")

	fourth, _ := live("fourth", 1, acknowledged(seq))
	require.Equal(t, third.Incarnation, fourth.Incarnation, "announced is announced")
}

// S7: a loss that could not be announced is not passed over: the stream does not start.
func TestLossThatCannotBeAnnounced(t *testing.T) {
	t.Parallel()
	journal, plan := memory.New(memory.Options{}), persistencetest.NewPlan()
	g := newGate()
	g.Journal = persistencetest.Faulty(journal, plan)
	d, err := openDesk(t, startSystem(t), g, "first", bank{})
	require.NoError(t, err)
	d.deposit(5)
	before := d.p.Claim().Incarnation
	journal.Lose("ledger/1", 3)
	plan.Add(persistencetest.Fault{Op: persistencetest.OpReincarnate, Times: -1, Err: persistence.ErrUnavailable})
	again, err := openDesk(t, d.sys, g, "again", bank{}, acknowledged(5))
	require.Error(t, err)
	require.ErrorIs(t, again.p.Recover(t.Context()), persistence.ErrUnavailable)
	require.ErrorContains(t, again.p.Recover(t.Context()), "lost tail of ledger/1")
	require.Error(t, again.p.Stopped())
	plan.Clear()
	require.NoError(t, again.p.Recover(t.Context()))
	require.NotEqual(t, before, again.p.Claim().Incarnation)
	require.EqualValues(t, 3, again.p.Seq())
}
