package persistencetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

var lifecycleTests = []namedTest{
	{"ping", ping},
	{"ended context", endedContext},
	{"context ends on the way", contextEnds},
	{"closed refuses everything", closedRefuses},
}

var durabilityTests = []namedTest{
	{"close finishes what was accepted", closeFinishes},
	{"acknowledged work survives a crash", crashKeeps},
	{"a dropped partition stays dropped", crashDropped},
	{"a restored journal stays marked", crashRestored},
}

func ping(b *bench) {
	for range 3 {
		require.NoError(b, b.Ping(b.Context()))
	}
}

// calls runs every method once and returns the errors by name.
func (b *bench) calls(ctx context.Context, c persistence.Claim) map[string]error {
	errs := map[string]error{}
	_, errs["Claim"] = b.Claim(ctx, c.Key, "node-b", persistence.ClaimOptions{})
	errs["Release"] = b.Release(ctx, c)
	_, errs["Recover"] = b.Recover(ctx, c)
	_, errs["Append"] = b.Append(ctx, c, c.LastSeq, newEvents(1))
	_, errs["Read"] = b.Read(ctx, c.Key, 1, 1)
	_, errs["ReadReverse"] = b.ReadReverse(ctx, c.Key, 0, 1)
	_, errs["Head"] = b.Head(ctx, c.Key)
	errs["SaveSnapshot"] = b.SaveSnapshot(ctx, c, persistence.Snapshot{Seq: 1})
	errs["Trim"] = b.Trim(ctx, c, 1)
	_, errs["Reincarnate"] = b.Reincarnate(ctx, c)
	_, _, errs["Takeovers"] = b.Takeovers(ctx, "node-a", persistence.Mark{})
	_, errs["Lanes"] = b.Lanes(ctx)
	_, _, errs["ReadLane"] = b.ReadLane(ctx, c.Lane, 0, 1)
	_, errs["ClaimCheckpoint"] = b.ClaimCheckpoint(ctx, "mail", c.Lane, "node-a")
	errs["SaveCheckpoint"] = b.SaveCheckpoint(ctx, persistence.Checkpoint{Name: "mail", Lane: c.Lane, Owner: "node-a", Epoch: 1}, 0)
	errs["DeleteCheckpoint"] = b.DeleteCheckpoint(ctx, "mail")
	_, errs["Checkpoints"] = b.Checkpoints(ctx)
	errs["Rotate"] = b.Rotate(ctx, 1)
	_, errs["Partitions"] = b.Partitions(ctx)
	_, errs["DropPartitions"] = b.DropPartitions(ctx, -1)
	_, errs["MarkRestored"] = b.MarkRestored(ctx)
	_, errs["CreateSession"] = b.CreateSession(ctx, sessionID(1), token("t"), "ada", b.unit())
	_, errs["ResumeSession"] = b.ResumeSession(ctx, sessionID(1), token("t"), token("u"), 0, b.unit())
	errs["SaveSessionRooms"] = b.SaveSessionRooms(ctx, sessionID(1), 1, nil, b.unit())
	errs["ExtendSessions"] = b.ExtendSessions(ctx, []persistence.SessionID{sessionID(1)}, b.unit())
	_, errs["LostSessions"] = b.LostSessions(ctx, []persistence.HeldSession{{ID: sessionID(1)}})
	_, errs["DeleteExpiredSessions"] = b.DeleteExpiredSessions(ctx, 1)
	_, errs["AcquireLease"] = b.AcquireLease(ctx, "lease", "node-a", b.unit())
	_, errs["RenewLease"] = b.RenewLease(ctx, persistence.Lease{Name: "lease", Owner: "node-a", Epoch: 1}, b.unit())
	errs["ReleaseLease"] = b.ReleaseLease(ctx, persistence.Lease{Name: "lease", Owner: "node-a", Epoch: 1})
	errs["Ping"] = b.Ping(ctx)
	return errs
}

func endedContext(b *bench) {
	c := b.filled("room/1", 2)
	c.LastSeq = 2
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	for name, err := range b.calls(ctx, c) {
		require.ErrorIs(b, err, persistence.ErrUnavailable, name)
		require.ErrorIs(b, err, context.Canceled, name)
	}
	require.Len(b, b.all("room/1"), 2)
	b.append(c, 2, newEvent("nothing was claimed or written"))
}

// contextEnds: an append whose context ends is certainly not stored (ErrUnavailable), may be stored (ErrUnknown), or was
// acknowledged after all; the next claim settles it.
func contextEnds(b *bench) {
	for i := range 50 {
		c := b.claim("room/1", "node-a")
		ctx, cancel := context.WithCancel(b.Context())
		go func() {
			for range i * 20 { // at another moment each time
				_ = ctx.Err()
			}
			cancel()
		}()
		e := newEvent("x")
		_, err := b.Append(ctx, c, c.LastSeq, []persistence.Event{e})
		settled := b.claim("room/1", "node-a")
		switch {
		case err == nil:
			require.Equal(b, c.LastSeq+1, settled.LastSeq)
		case errors.Is(err, persistence.ErrUnavailable):
			require.Equal(b, c.LastSeq, settled.LastSeq)
		case errors.Is(err, persistence.ErrUnknown):
			require.ErrorIs(b, err, context.Canceled)
			require.LessOrEqual(b, settled.LastSeq, c.LastSeq+1)
		default:
			require.NoError(b, err)
		}
	}
	requireRun(b, b.all("room/1"))
}

func closedRefuses(b *bench) {
	c := b.filled("room/1", 2)
	closeBackend(b, b.Backend)
	for name, err := range b.calls(b.Context(), c) {
		require.ErrorIs(b, err, persistence.ErrClosed, name)
	}
	closeBackend(b, b.Backend) // once more is fine
}

func closeFinishes(b *bench) {
	const streams = 100
	claims := make([]persistence.Claim, streams)
	for i := range claims {
		claims[i] = b.claim(persistence.StreamKey(fmt.Sprintf("room/%d", i)), "node-a")
	}
	heads := make([]uint64, streams)
	var group, started sync.WaitGroup
	started.Add(streams)
	for i, c := range claims {
		group.Go(func() {
			for {
				last, err := b.Append(b.Context(), c, heads[i], newEvents(1))
				if heads[i] == 0 {
					started.Done()
				}
				if err != nil {
					requireIs(b, err, persistence.ErrClosed)
					return
				}
				heads[i] = last
			}
		})
	}
	started.Wait()
	closeBackend(b, b.Backend)
	group.Wait()
	b.use(b.store.Crash())
	for i, c := range claims {
		require.Len(b, b.all(c.Key), int(heads[i]), "exactly what was acknowledged is there")
	}
}

func crashKeeps(b *bench) {
	c := b.filled("room/1", 10)
	b.snapshot(c, 6, "state")
	require.NoError(b, b.Trim(b.Context(), c, 4))
	b.session(1, "t1")
	l := b.lease("scheduler", "node-a")
	at := b.checkpoint("mail", c.Lane, "node-a")
	require.NoError(b, b.SaveCheckpoint(b.Context(), at, 3))
	lane := b.laneHeads()[c.Lane]
	b.rotate(7)
	b.use(b.store.Crash())

	next := b.claim("room/1", "node-b")
	require.Equal(b, c.Epoch+1, next.Epoch)
	require.Equal(b, c.Incarnation, next.Incarnation)
	require.EqualValues(b, 10, next.LastSeq)
	require.EqualValues(b, 4, next.TrimSeq)
	rec, err := b.Recover(b.Context(), next)
	require.NoError(b, err)
	require.Equal(b, "state", string(rec.Snapshot.Payload))
	require.Equal(b, []uint64{7, 8, 9, 10}, seqs(rec.Tail))
	_, err = b.Append(b.Context(), c, 10, newEvents(1))
	require.ErrorIs(b, err, persistence.ErrFenced)
	b.append(next, 10, newEvent("x"))
	b.mustResume(1, "t1", "t2")
	_, err = b.RenewLease(b.Context(), l, b.unit())
	require.NoError(b, err)
	require.Equal(b, []int32{0, 7}, b.parts())
	require.NoError(b, b.SaveCheckpoint(b.Context(), at, lane.Pos))
	events, _ := b.lane(c.Lane, lane.Pos, 10)
	require.Len(b, events, 1, "positions go on")
	list, _ := b.takeovers("node-a", persistence.Mark{})
	require.Contains(b, list, persistence.StreamKey("room/1"))
}

// crashDropped: what is left to tidy up after a drop is of no importance to readers.
func crashDropped(b *bench) {
	c := b.filled("room/1", 2500)
	b.snapshot(c, 2500, "s")
	b.rotate(1)
	b.grow(c, 3)
	b.dropped(0, 0)
	for range 3 {
		b.use(b.store.Crash())
		require.Equal(b, []int32{1}, b.parts())
		c = b.claim("room/1", "node-a")
		require.EqualValues(b, 2500, c.TrimSeq)
		_, err := b.Read(b.Context(), "room/1", 2500, 1)
		require.ErrorIs(b, err, persistence.ErrTrimmed)
		require.Len(b, b.feed(), 3)
		b.replays(c, 2500)
	}
}

func crashRestored(b *bench) {
	c := b.filled("room/1", 3)
	b.restored(1)
	h, err := b.Head(b.Context(), "room/1")
	require.NoError(b, err)
	pos := b.laneHeads()[c.Lane].Pos
	b.use(b.store.Crash())
	again, err := b.Head(b.Context(), "room/1")
	require.NoError(b, err)
	require.Equal(b, h, again)
	require.Equal(b, pos, b.laneHeads()[c.Lane].Pos)
	_, err = b.Append(b.Context(), c, 3, newEvents(1))
	require.ErrorIs(b, err, persistence.ErrFenced)
	b.append(b.claim("room/1", "node-a"), 3, newEvent("x"))
	require.Len(b, b.feed(), 4)
}
