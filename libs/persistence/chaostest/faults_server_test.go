package chaostest

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/persistencetest/pgtest"
)

// killed: the server dies at once and is started again.
var killed = fault{
	name:  "kill -9",
	needs: map[string]float64{"kill -9": 4},
	strike: func(ctx context.Context, w *world, random *rand.Rand) error {
		kill := w.primary.Kill9
		if random.IntN(4) == 0 {
			kill = w.primary.KillPostmaster // its children find out
		}
		if err := kill(); err != nil {
			return err
		}
		pause(ctx, time.Duration(random.IntN(500))*time.Millisecond)
		if err := w.primary.StartAgain(ctx); err != nil {
			return err
		}
		w.hit("kill -9", 1)
		return nil
	},
}

// frozen: nobody on the server's machine runs, and nobody is told.
var frozen = fault{
	name:  "freeze",
	needs: map[string]float64{"freeze": 3},
	strike: func(ctx context.Context, w *world, random *rand.Rand) error {
		if err := w.primary.Pause(); err != nil {
			return err
		}
		pause(ctx, 300*time.Millisecond+time.Duration(random.IntN(3000))*time.Millisecond)
		w.hit("freeze", 1)
		return w.primary.Resume()
	},
}

// askServer runs a query whose answer is a number, which is 0 when the server has none: it may be down, frozen or full.
func (w *world) askServer(ctx context.Context, sql string) int {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var n int
	if err := w.primary.QueryRow(ctx, sql).Scan(&n); err != nil {
		return 0
	}
	return n
}

// terminated: somebody ends one session, which may be committing.
var terminated = fault{
	name:  "terminate",
	needs: map[string]float64{"terminate": 10},
	strike: func(ctx context.Context, w *world, _ *rand.Rand) error {
		w.hit("terminate", w.askServer(ctx, `
			SELECT count(pg_terminate_backend(pid)) FROM (
			  SELECT pid FROM pg_stat_activity WHERE application_name = 'parley' ORDER BY state = 'active' DESC, random() LIMIT 1) s`))
		return nil
	},
}

// stormed: somebody ends all sessions, again and again.
var stormed = fault{
	name:  "terminate all",
	needs: map[string]float64{"terminate": 10},
	strike: func(ctx context.Context, w *world, random *rand.Rand) error {
		for range 1 + random.IntN(10) {
			w.hit("terminate", w.askServer(ctx, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'parley'`))
			if !pause(ctx, between(random, 50*time.Millisecond)) {
				break
			}
		}
		return nil
	},
}

// rotated: events go to another partition from now on, while they are written.
var rotated = fault{
	name:   "rotate",
	needs:  map[string]float64{"rotate": 2},
	strike: func(ctx context.Context, w *world, random *rand.Rand) error { return w.rotate(ctx, random) },
}

func (w *world) rotate(ctx context.Context, random *rand.Rand) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	n := w.load.node(random)
	w.part++ // one loop rotates
	err := n.Rotate(ctx, w.part)
	if err == nil {
		w.hit("rotate", 1)
	} else if !transient(err) {
		w.load.witness.fail(contract, "", "rotate to %d on %s: %v", w.part, n.name, err)
	}
	return nil
}

// retired: everybody saves a snapshot, and the partitions before the newest are dropped.
var retired = fault{
	name:  "drop partitions",
	needs: map[string]float64{"drop": 1},
	strike: func(ctx context.Context, w *world, random *rand.Rand) error {
		if err := w.rotate(ctx, random); err != nil {
			return err
		}
		w.load.sweeps.Add(1)
		until := time.Now().Add(8 * time.Second)
		for pause(ctx, between(random, 200*time.Millisecond)) && time.Now().Before(until) {
			op, cancel := context.WithTimeout(ctx, 5*time.Second)
			n := w.load.node(random)
			dropped, err := n.DropPartitions(op, w.part-1)
			cancel()
			w.hit("drop", len(dropped))
			var blocked *persistence.BlockedError
			switch {
			case err == nil:
				return nil
			case errors.As(err, &blocked):
				w.hit("drop blocked", 1)
			case errors.Is(err, persistence.ErrConflict): // the rotation did not happen
				return nil
			case !transient(err):
				w.load.witness.fail(contract, "", "drop up to %d on %s: %v", w.part-1, n.name, err)
			}
		}
		return nil
	},
}

// filled: the disk has no room for data.
var filled = fault{
	name:  "disk full",
	needs: map[string]float64{"disk full": 3, "refused on a full disk": 3},
	strike: func(ctx context.Context, w *world, random *rand.Rand) error {
		return w.fill(ctx, func() { pause(ctx, time.Second+time.Duration(random.IntN(1000))*time.Millisecond) })
	},
}

// filledLog: the disk has no room for the log either, so the server ends in the middle of what it does.
var filledLog = fault{
	name:  "disk full for the log",
	needs: map[string]float64{"server ended on a full disk": 1},
	strike: func(ctx context.Context, w *world, random *rand.Rand) error {
		return w.fill(ctx, func() {
			pid := w.primary.PID()
			for range 100 {
				// The space of the log that is left is given up for good.
				sql := "SELECT 1 FROM pg_switch_wal()"
				op, cancel := context.WithTimeout(ctx, 2*time.Second)
				err := w.primary.Exec(op, sql)
				cancel()
				if err != nil || w.primary.PID() != pid {
					w.hit("server ended on a full disk", 1)
					break
				}
				if !pause(ctx, between(random, 30*time.Millisecond)) {
					break
				}
			}
		})
	},
}

// fill has the disk full while something goes on, and starts the server again if it did not live through it.
func (w *world) fill(ctx context.Context, meanwhile func()) error {
	before := w.load.counts.unavailable.Load()
	if err := pgtest.Fill(w.disk); err != nil {
		return err
	}
	meanwhile()
	if refused := w.load.counts.unavailable.Load() - before; refused > 0 {
		w.hit("refused on a full disk", int(refused))
	}
	if err := pgtest.Free(w.disk); err != nil {
		return err
	}
	w.hit("disk full", 1)
	// A server that ended itself may be on its way back, or have given up on it.
	return await(ctx, func() (bool, error) {
		if w.askServer(ctx, "SELECT 1") == 1 {
			return true, nil
		}
		return false, w.startAgain(ctx)
	})
}
