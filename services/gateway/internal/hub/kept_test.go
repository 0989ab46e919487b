package hub

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/protocol/codec"
	"github.com/parley-rt/parley/services/gateway/internal/ws"
)

// Those who come a little later than others get what was read for those.
func TestPagesStayForAMoment(t *testing.T) {
	t.Parallel()
	m := newModel(t, Config{RingMessages: 5, PageMessages: 40})
	m.publish(95)
	first := m.attach(ptr(0), codec.JSON{}, 1000)
	m.pump()
	require.Equal(t, 95, first.got)
	before := m.number
	for _, cursor := range []uint64{0, 1, 39, 40, 41, 88} {
		late := m.attach(ptr(cursor), codec.JSON{}, 1000)
		require.Equal(t, 95-int(cursor), late.got)
		require.Same(t, &first.lastSent[0], &late.lastSent[0])
	}
	require.Equal(t, before, m.number, "no page was asked for")
	require.Positive(t, m.topic.cfg.Backlog.Bytes(), "they are counted")

	m.tick(keepFor)
	require.Zero(t, m.topic.cfg.Backlog.Bytes())
	late := m.attach(ptr(0), codec.JSON{}, 1000)
	m.pump()
	require.Equal(t, 95, late.got)
	require.Greater(t, m.number, before, "they were read again")

	m.publish(100) // what is kept does not reach the ring any more
	m.pump()
	later := m.attach(ptr(0), codec.JSON{}, 1000)
	m.pump()
	require.Equal(t, 195, later.got)

	m.trimmed = 50
	trimmed := m.attach(ptr(0), codec.JSON{}, 1000)
	m.pump()
	require.Equal(t, 1, trimmed.resets)
	require.Equal(t, 145, trimmed.got)
}

// What has to wait comes first.
func TestNoPagesStayWhenMuchWaits(t *testing.T) {
	t.Parallel()
	backlog := ws.NewBacklog(1 << 20)
	m := newModel(t, Config{RingMessages: 5, PageMessages: 40, Backlog: backlog})
	m.publish(95)
	const waiting = 1<<19 + 1
	backlog.Add(waiting)
	first := m.attach(ptr(0), codec.JSON{}, 1000)
	m.pump()
	require.Equal(t, 95, first.got)
	require.EqualValues(t, waiting, backlog.Bytes())
	backlog.Add(-1)
	m.attach(ptr(0), codec.JSON{}, 1000)
	m.pump()
	require.Greater(t, backlog.Bytes(), int64(waiting))
}
