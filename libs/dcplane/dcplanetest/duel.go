package dcplanetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/dcplane"
)

func testDuel(t *testing.T, b *bench) {
	first, second, reader := b.open(), b.open(), b.open()
	early, late := node("rooms-1"), node("rooms-1")
	late.Incarnation, late.RemotingPort = "rooms-1#2", 5001
	r1 := b.register(first, early)
	b.awaitNode(reader, early)
	r2 := b.register(second, late)
	b.awaitNode(reader, late)

	b.awaitLost(r1, early, late)
	require.ErrorIs(t, r1.Update(b.ctx(), dcplane.StateReady, 1), dcplane.ErrSuperseded)
	require.NoError(t, r1.Deregister(b.ctx()), "it must not take the other's record with it")
	require.NoError(t, first.Close(b.ctx()))

	b.expireOne(second, reader)
	b.awaitNode(reader, late)
	late.Load = 0.5
	require.NoError(t, r2.Update(b.ctx(), late.State, late.Load))
	b.awaitNode(reader, late)
	select {
	case err := <-r2.Lost():
		require.FailNow(t, "the later process lost too", "%v", err)
	default:
	}
}

func testDuelEmpty(t *testing.T, b *bench) {
	first, second, reader := b.open(), b.open(), b.open()
	early, late := node("rooms-1"), node("rooms-1")
	late.Incarnation, late.RemotingPort = "rooms-1#2", 5001
	r1 := b.register(first, early)
	b.awaitNode(reader, early)

	b.plane.Stop(t)
	type result struct {
		r   dcplane.Registration
		err error
	}
	registered := make(chan result, 1)
	go func() {
		r, err := second.Register(b.ctx(), late)
		registered <- result{r, err}
	}()
	b.await(reader, "not ready", func() bool { return !reader.Ready() })
	b.plane.Start(t, true)
	got := <-registered
	require.NoError(t, got.err)
	b.awaitLost(r1, early, late)
	b.awaitNode(reader, late)
}

// awaitLost waits until r is told that late took early's name.
func (b *bench) awaitLost(r dcplane.Registration, early, late dcplane.Node) {
	b.t.Helper()
	select {
	case err := <-r.Lost():
		var superseded *dcplane.SupersededError
		require.ErrorAs(b.t, err, &superseded)
		require.ErrorIs(b.t, err, dcplane.ErrSuperseded)
		require.Equal(b.t, dcplane.SupersededError{Key: early.Key(), Mine: early.Incarnation, Theirs: late.Incarnation}, *superseded)
	case <-time.After(patience):
		require.FailNow(b.t, "the earlier process never noticed that it lost its name")
	}
	_, open := <-r.Lost()
	require.False(b.t, open)
}
