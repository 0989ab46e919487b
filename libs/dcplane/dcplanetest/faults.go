package dcplanetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/dcplane"
)

func testCrash(t *testing.T, b *bench) {
	doomed, living, reader := b.open(), b.open(), b.open()
	n, stays := node("rooms-1"), node("rooms-2")
	r := b.register(doomed, n)
	b.register(living, stays)
	b.awaitNode(reader, n)
	b.awaitNode(reader, stays)

	end := b.watchFor(reader, stays)
	renewed := time.Now() // at the earliest: the update below is a renewal
	require.NoError(t, r.Update(b.ctx(), n.State, n.Load))
	b.plane.Crash(t, doomed)
	crashed := time.Now()
	b.awaitGone(reader, n)
	require.GreaterOrEqual(t, time.Since(renewed), lease, "gone before its lease had run out")
	require.Less(t, time.Since(crashed), 5*lease, "kept too long after its lease had run out")
	_, err := doomed.Register(b.ctx(), n)
	require.ErrorIs(t, err, dcplane.ErrClosed)

	b.register(living, n)
	b.awaitNode(reader, n)
	end()
}

func testStartOrder(t *testing.T, b *bench) {
	b.plane.Stop(t)
	writer, reader := b.plane.Open(t, timing), b.plane.Open(t, timing)
	n := node("rooms-1")
	require.False(t, reader.Ready())
	require.Zero(t, reader.LastRefresh())
	require.Empty(t, reader.Nodes(n.DC, n.Service))
	require.ErrorIs(t, reader.Problem(), dcplane.ErrUnavailable)
	short, cancel := context.WithTimeout(t.Context(), lease)
	defer cancel()
	err := dcplane.AwaitReady(short, reader)
	require.ErrorIs(t, err, dcplane.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, reader.Problem(), "not reached since the start")

	registered := make(chan error, 1)
	go func() {
		_, err := writer.Register(b.ctx(), n)
		registered <- err
	}()
	b.plane.Start(t, false)
	require.NoError(t, <-registered)
	b.awaitNode(reader, n)
	require.NoError(t, dcplane.AwaitReady(b.ctx(), reader))
	require.NoError(t, reader.Problem())
}

func testOutage(t *testing.T, b *bench) {
	writer, reader := b.open(), b.open()
	n := node("rooms-1")
	b.register(writer, n)
	b.awaitNode(reader, n)
	end := b.watchFor(reader, n)
	require.Less(t, reader.Age(), lease)

	b.plane.Stop(t)
	b.await(reader, "not ready", func() bool { return !reader.Ready() })
	refreshed := reader.LastRefresh()
	require.GreaterOrEqual(t, reader.Age(), timing.MaxCacheStaleness)
	require.ErrorIs(t, reader.Problem(), dcplane.ErrUnavailable)
	require.ErrorContains(t, reader.Problem(), "no answer for")
	b.awaitNode(reader, n)

	b.plane.Start(t, false)
	b.await(reader, "ready again", reader.Ready)
	require.Less(t, reader.Age(), timing.MaxCacheStaleness)
	require.False(t, reader.LastRefresh().Before(refreshed))
	b.expireOne(writer, reader)
	end()
}

func testEmpty(t *testing.T, b *bench) {
	one, two, reader := b.open(), b.open(), b.open()
	a, c := node("rooms-1"), node("rooms-2")
	b.register(one, a)
	b.register(two, c)
	b.awaitNode(reader, a)
	b.awaitNode(reader, c)
	end := b.watchFor(reader, a, c)

	b.plane.Stop(t)
	b.await(reader, "not ready", func() bool { return !reader.Ready() })
	b.plane.Start(t, true)

	fresh := b.open()
	b.awaitNode(fresh, a)
	b.awaitNode(fresh, c)
	b.await(reader, "ready again", reader.Ready)
	b.expireOne(one, reader)
	end()
}

// expireOne lets a lease run out, so that whoever wrongly stopped being renewed in reader's eyes expires too.
func (b *bench) expireOne(writer, reader dcplane.Directory) {
	b.t.Helper()
	witness, n := b.open(), node("witness")
	b.register(witness, n)
	b.awaitNode(reader, n)
	b.awaitNode(writer, n)
	b.plane.Crash(b.t, witness)
	b.awaitGone(reader, n)
	b.awaitGone(writer, n)
}

func testCrashInOutage(t *testing.T, b *bench) {
	doomed, living, reader := b.open(), b.open(), b.open()
	n, stays := node("rooms-1"), node("rooms-2")
	b.register(doomed, n)
	b.register(living, stays)
	b.awaitNode(reader, n)
	b.awaitNode(reader, stays)
	end := b.watchFor(reader, stays)

	b.plane.Stop(t)
	b.plane.Crash(t, doomed)
	b.await(reader, "not ready", func() bool { return !reader.Ready() })
	b.awaitNode(reader, n)
	back := time.Now()
	b.plane.Start(t, false)
	b.awaitGone(reader, n)
	require.GreaterOrEqual(t, time.Since(back), lease, "every node gets a whole lease after an outage")
	end()
}

func testOutageWrites(t *testing.T, b *bench) {
	writer, reader := b.open(), b.open()
	n, leaves := node("rooms-1"), node("rooms-2")
	n.State = dcplane.StateStarting
	r, l := b.register(writer, n), b.register(writer, leaves)
	b.awaitNode(reader, n)
	b.awaitNode(reader, leaves)

	b.plane.Stop(t)
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), lease/8)
		t.Cleanup(cancel)
		return ctx
	}
	require.ErrorIs(t, r.Update(short(), dcplane.StateDraining, 0.75), dcplane.ErrUnavailable)
	require.ErrorIs(t, l.Deregister(short()), dcplane.ErrUnavailable)
	_, err := writer.Register(short(), node("rooms-3"))
	require.ErrorIs(t, err, dcplane.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	b.await(reader, "not ready", func() bool { return !reader.Ready() })

	b.plane.Start(t, false)
	n.State, n.Load = dcplane.StateDraining, 0.75
	b.awaitNode(reader, n)
	b.awaitGone(reader, leaves)
	b.register(writer, node("rooms-3"))
	b.awaitNode(reader, node("rooms-3"))
}

func testWatchGap(t *testing.T, b *bench) {
	slow := timing
	slow.Lease *= 2
	writer, reader := b.openWith(slow), b.openWith(slow)
	n, leaves := node("rooms-1"), node("rooms-2")
	r, l := b.register(writer, n), b.register(writer, leaves)
	b.awaitNode(reader, n)
	b.awaitNode(reader, leaves)
	end := b.watchFor(reader, n)

	b.plane.DropWatches(t)
	began := time.Now()
	n.State = dcplane.StateDraining
	require.NoError(t, r.Update(b.ctx(), n.State, n.Load))
	require.NoError(t, l.Deregister(b.ctx()))
	joins := node("rooms-3")
	b.register(writer, joins)
	b.awaitNode(reader, n)
	b.awaitNode(reader, joins)
	b.awaitGone(reader, leaves)
	require.Less(t, time.Since(began), slow.Lease, "silence is noticed before leases run out")
	b.expireOne(writer, reader)
	end()
}

func testChanged(t *testing.T, b *bench) {
	const updates, readers = 200, 4
	writer := b.openCalm()
	n := node("rooms-1")
	n.Load = 0
	r := b.register(writer, n)
	last := n
	last.Load = updates
	reader := b.openCalm()
	seen := make(chan string, readers)
	for range readers {
		go func() {
			deadline := time.NewTimer(patience)
			defer deadline.Stop()
			for {
				changed := reader.Changed()
				if got, ok := reader.Lookup(n.DC, n.Service, n.Name); ok && got == last {
					seen <- ""
					return
				}
				select {
				case <-changed:
				case <-deadline.C:
					seen <- describe(reader)
					return
				}
			}
		}()
	}
	for i := range updates {
		require.NoError(t, r.Update(b.ctx(), n.State, float64(i+1)))
	}
	for range readers {
		require.Empty(t, <-seen, "a reader slept through the last change")
	}
}
