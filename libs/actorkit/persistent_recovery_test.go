package actorkit_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
)

func snapshotEvery(n int) func(*actorkit.PersistentConfig) {
	return func(c *actorkit.PersistentConfig) { c.SnapshotEvery = n }
}

// deposit makes n events of one command each, one batch after the other.
func (d *desk) deposit(n int) {
	for range n {
		d.submit(add("a", 1))
		require.NoError(d.t, d.next().Err)
	}
}

// awaitSnapshots waits until exactly these seqs were saved.
func (d *desk) awaitSnapshots(want ...uint64) {
	require.Eventually(d.t, func() bool {
		got := d.gate.snapshots()
		return len(got) >= len(want)
	}, waitFor, tick)
	d.look()
	require.Equal(d.t, want, d.gate.snapshots())
}

func TestSnapshotIsDueByNumber(t *testing.T) {
	t.Parallel()
	d := newDesk(t, bank{}, snapshotEvery(10))
	d.deposit(9)
	d.look()
	require.Empty(t, d.gate.snapshots())
	d.deposit(1)
	d.awaitSnapshots(10)
	d.deposit(10)
	d.awaitSnapshots(10, 20)
	require.NoError(t, d.stop())
	require.Equal(t, []uint64{10, 20}, d.gate.snapshots(), "nothing new")
}

func TestSnapshotIsDueByWeight(t *testing.T) {
	t.Parallel()
	d := newDesk(t, bank{pad: 1000}, snapshotEvery(10))
	d.deposit(10)
	d.awaitSnapshots(10)
	d.deposit(46) // 22 bytes each: 1,012 do not outweigh 1,033.
	d.look()
	require.Equal(t, []uint64{10}, d.gate.snapshots())
	d.deposit(1)
	d.awaitSnapshots(10, 57)
	d.deposit(3)
	require.NoError(t, d.stop())
	require.Equal(t, []uint64{10, 57, 60}, d.gate.snapshots(), "the last on stopping")
}

func TestSnapshotFailureIsRetriedLater(t *testing.T) {
	t.Parallel()
	d := newDesk(t, bank{}, snapshotEvery(10))
	var tries atomic.Int32
	d.gate.set(func(g *gate) {
		g.save = func() error {
			if tries.Add(1) == 1 {
				return errOops
			}
			return nil
		}
	})
	d.deposit(10)
	require.Eventually(t, func() bool { return tries.Load() == 1 }, waitFor, tick)
	d.look()
	d.deposit(9)
	d.look()
	require.EqualValues(t, 1, tries.Load(), "not at once")
	d.deposit(1)
	d.awaitSnapshots(20)
}

func TestFencedSnapshotStopsTheStream(t *testing.T) {
	t.Parallel()
	d := newDesk(t, bank{}, snapshotEvery(10))
	d.gate.set(func(g *gate) { g.save = func() error { return &persistence.FencedError{} } })
	d.deposit(10)
	require.Eventually(t, func() bool { return d.look().stopped != nil }, waitFor, tick)
	require.ErrorIs(t, d.look().stopped, persistence.ErrFenced)
	d.submit(add("a", 1))
	require.ErrorIs(t, d.next().Err, persistence.ErrFenced)
}

func TestRecoverFromSnapshotAndTail(t *testing.T) {
	t.Parallel()
	d := newDesk(t, bank{}, snapshotEvery(10))
	d.deposit(10)
	d.awaitSnapshots(10)
	d.deposit(5)
	want := d.look().ledger
	// The first activation is left alive, as after a crash that nobody noticed.
	again, err := openDesk(t, d.sys, d.gate, "again", bank{}, snapshotEvery(10))
	require.NoError(t, err)
	require.Equal(t, want, again.look().ledger)
	require.Equal(t, uint64(15), again.look().seq)
	again.deposit(5) // With the five of the tail it is due.
	again.awaitSnapshots(10, 20)
}

func TestRecoverReadsOn(t *testing.T) {
	t.Parallel()
	d := newDesk(t, bank{})
	d.submit(order{Account: "a", Changes: make([]int, 950)}, order{Account: "a", Changes: make([]int, 950)}, order{Account: "a", Changes: make([]int, 950)}, add("a", 3))
	d.nextN(4)
	d.gate.set(func(g *gate) {
		g.recovered = func(r *persistence.Recovery) {
			if len(r.Tail) > 10 {
				r.Tail, r.More = r.Tail[:10], true
			}
		}
	})
	again, err := openDesk(t, d.sys, d.gate, "again", bank{})
	require.NoError(t, err)
	require.Equal(t, view{ledger: ledger{Accounts: map[string]int{"a": 3}, Events: 2851}, seq: 2851}, again.look())
}

func TestRecoverFromAnOlderSnapshot(t *testing.T) {
	t.Parallel()
	broken := func(seqs ...uint64) bank {
		return bank{restore: func(seq uint64) error {
			for _, s := range seqs {
				if s == seq {
					return errOops
				}
			}
			return nil
		}}
	}
	prepare := func(t *testing.T) *desk {
		d := newDesk(t, bank{}, snapshotEvery(10))
		d.deposit(10)
		d.awaitSnapshots(10)
		d.deposit(10)
		d.awaitSnapshots(10, 20)
		d.deposit(3)
		return d
	}
	want := ledger{Accounts: map[string]int{"a": 23}, Events: 23}
	t.Run("previous", func(t *testing.T) {
		t.Parallel()
		d := prepare(t)
		again, err := openDesk(t, d.sys, d.gate, "again", broken(20))
		require.NoError(t, err)
		require.Equal(t, want, again.look().ledger)
		again.deposit(1)
		require.Equal(t, uint64(24), again.look().seq)
	})
	t.Run("whole stream", func(t *testing.T) {
		t.Parallel()
		d := prepare(t)
		again, err := openDesk(t, d.sys, d.gate, "again", broken(10, 20))
		require.NoError(t, err)
		require.Equal(t, want, again.look().ledger)
	})
	t.Run("trimmed", func(t *testing.T) {
		t.Parallel()
		d := prepare(t)
		require.NoError(t, d.gate.Trim(t.Context(), d.p.Claim(), 5))
		_, err := openDesk(t, d.sys, d.gate, "again", broken(20))
		require.NoError(t, err, "the previous snapshot still has its tail")
		bad, err := openDesk(t, d.sys, d.gate, "bad", broken(10, 20))
		require.Error(t, err)
		err = bad.p.Recover(t.Context())
		require.ErrorIs(t, err, persistence.ErrCorrupt)
		require.ErrorIs(t, err, errOops)
		require.NoError(t, d.gate.Trim(t.Context(), bad.p.Claim(), 15))
		bad, err = openDesk(t, d.sys, d.gate, "worse", broken(20))
		require.Error(t, err)
		require.ErrorIs(t, bad.p.Recover(t.Context()), persistence.ErrCorrupt)
	})
}

func TestCorruptStreams(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(*persistence.Recovery){
		"hole":       func(r *persistence.Recovery) { r.Tail = append(r.Tail[:1:1], r.Tail[2:]...) },
		"late start": func(r *persistence.Recovery) { r.Tail = r.Tail[1:] },
		"repeated":   func(r *persistence.Recovery) { r.Tail = append(r.Tail[:1:1], r.Tail...) },
		"unreadable": func(r *persistence.Recovery) { r.Tail[3].Payload = []byte("{") },
		"beyond":     func(r *persistence.Recovery) { r.Snapshot = persistence.Snapshot{Seq: 9, Payload: []byte("{}")} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, bank{})
			d.deposit(5)
			d.gate.set(func(g *gate) { g.recovered = damage })
			bad, err := openDesk(t, d.sys, d.gate, "bad", bank{})
			require.Error(t, err)
			require.ErrorIs(t, bad.p.Recover(t.Context()), persistence.ErrCorrupt)
			d.gate.set(func(g *gate) { g.recovered = nil })
			require.NoError(t, bad.p.Recover(t.Context()), "and may be tried again")
			require.Equal(t, uint64(5), bad.p.Seq())
		})
	}
}

// Whatever is submitted and wherever activations are cut off, a new activation has the state that the stored events lead
// to, everything answered is among them, and what certainly failed is not.
func TestRecoveryProperty(t *testing.T) {
	t.Parallel()
	sys := startSystem(t)
	var names atomic.Int64
	rapid.Check(t, func(t *rapid.T) {
		g := newGate()
		edit := func(c *actorkit.PersistentConfig) {
			c.SnapshotEvery = rapid.IntRange(1, 8).Draw(t, "every")
			c.MaxBatchEvents = rapid.IntRange(1, 6).Draw(t, "batch")
		}
		dice := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "faults"), 1))
		g.set(func(g *gate) {
			roll := func(errs ...error) func(context.Context) error {
				return func(context.Context) error {
					g.mu.Lock()
					defer g.mu.Unlock()
					if dice.IntN(6) == 0 {
						return errs[dice.IntN(len(errs))]
					}
					return nil
				}
			}
			g.before = roll(persistence.ErrUnavailable, persistence.ErrOverloaded, persistence.ErrUnknown)
			g.after = roll(persistence.ErrUnknown)
			g.save = func() error { return roll(errOops, persistence.ErrUnavailable)(nil) }
		})
		acknowledged := map[uint64]change{}
		var d *desk
		for range rapid.IntRange(1, 5).Draw(t, "lives") {
			life, err := openDesk(t, sys, g, fmt.Sprintf("life-%d", names.Add(1)), bank{}, edit)
			require.NoError(t, err)
			d = life
			require.Equal(t, fold(t, g), d.look().ledger)
			sent := 0
			for range rapid.IntRange(0, 8).Draw(t, "messages") {
				var orders []order
				for range rapid.IntRange(1, 5).Draw(t, "orders") {
					orders = append(orders, order{
						Account: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "account"),
						Changes: rapid.SliceOfN(rapid.IntRange(-3, 5), 0, 4).Draw(t, "changes"),
					})
				}
				sent += len(orders)
				d.submit(orders...)
			}
			for _, o := range d.nextN(sent) {
				for i, seq := range o.Seqs {
					acknowledged[seq] = change{Account: o.Order.Account, By: o.Order.Changes[i]}
				}
			}
			if rapid.Bool().Draw(t, "orderly") {
				_ = d.stop() // The final snapshot may fail.
			} else {
				defer func(d *desk) { _ = d.stop() }(d)
			}
		}
		last, err := openDesk(t, sys, g, fmt.Sprintf("life-%d", names.Add(1)), bank{})
		require.NoError(t, err)
		require.Equal(t, fold(t, g), last.look().ledger)
		events := stored(t, g)
		for seq, c := range acknowledged {
			require.Equal(t, c, events[seq-1])
		}
		_ = last.stop()
	})
}

func stored(t require.TestingT, g *gate) []change {
	var changes []change
	for {
		page, err := g.Journal.Read(context.Background(), "ledger/1", uint64(len(changes))+1, persistence.MaxRead)
		require.NoError(t, err)
		if len(page) == 0 {
			return changes
		}
		for _, e := range page {
			changes = append(changes, decodeChange(t, e))
		}
	}
}

// fold is the model: what the stored events lead to.
func fold(t require.TestingT, g *gate) ledger {
	l := ledger{Accounts: map[string]int{}}
	for _, c := range stored(t, g) {
		l.Accounts[c.Account] += c.By
		l.Events++
		require.GreaterOrEqual(t, l.Accounts[c.Account], 0)
	}
	return l
}
