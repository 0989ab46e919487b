package memory

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/dcplanetest"
)

func TestMain(m *testing.M) { dcplanetest.Main(m) }

func TestConformance(t *testing.T) {
	t.Parallel()
	dcplanetest.Exercise(t, func(*testing.T) dcplanetest.Plane { return plane{NewPlane()} })
}

type plane struct{ *Plane }

func (p plane) Open(t *testing.T, timing dcplanetest.Timing) dcplane.Directory {
	t.Helper()
	d, err := p.Plane.OpenAtOnce(Config{
		Lease: timing.Lease, RefreshEvery: timing.RefreshEvery, MaxCacheStaleness: timing.MaxCacheStaleness,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close(context.Background()) }) // fails where the test left the plane stopped
	return d
}

func (p plane) Stop(*testing.T)                         { p.Plane.Stop() }
func (p plane) Start(_ *testing.T, empty bool)          { p.Plane.Start(empty) }
func (p plane) Crash(_ *testing.T, d dcplane.Directory) { d.(*Directory).Crash() }
func (p plane) DropWatches(*testing.T)                  { p.Plane.DropWatches() }

func sample() dcplane.Node {
	return dcplane.Node{
		Service: "rooms", DC: "dc-a", Name: "rooms-1", Incarnation: "one", Host: "127.0.0.1", RemotingPort: 1, State: dcplane.StateReady,
	}
}

func openManual(t *testing.T, p *Plane) *Directory {
	t.Helper()
	d, err := p.Open(t.Context(), Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close(context.Background())) })
	return d
}

// TestManualCrash pins the expiry to the tick: after a crash a node stays exactly one lease after its last renewal.
func TestManualCrash(t *testing.T) {
	t.Parallel()
	p := NewManualPlane()
	doomed, living, reader := openManual(t, p), openManual(t, p), openManual(t, p)
	n, stays := sample(), sample()
	stays.Name = "rooms-2"
	_, err := doomed.Register(t.Context(), n)
	require.NoError(t, err)
	_, err = living.Register(t.Context(), stays)
	require.NoError(t, err)

	p.Advance(time.Hour)
	require.Len(t, reader.Nodes("dc-a", "rooms"), 2, "both were renewed for an hour")
	r, err := doomed.Register(t.Context(), func() dcplane.Node { n := sample(); n.Name = "rooms-3"; return n }())
	require.NoError(t, err)
	require.NoError(t, r.Update(t.Context(), dcplane.StateDraining, 1))
	doomed.Crash()
	p.Advance(dcplane.DefaultLease)
	_, ok := reader.Lookup("dc-a", "rooms", "rooms-3")
	require.True(t, ok, "exactly one lease after the last renewal it is still there")
	changed := reader.Changed()
	p.Advance(250 * time.Millisecond)
	_, ok = reader.Lookup("dc-a", "rooms", "rooms-3")
	require.False(t, ok)
	<-changed
	require.Equal(t, []dcplane.Node{stays}, reader.Nodes("dc-a", "rooms"))
}

func TestManualOutage(t *testing.T) {
	t.Parallel()
	p := NewManualPlane()
	writer, reader := openManual(t, p), openManual(t, p)
	_, err := writer.Register(t.Context(), sample())
	require.NoError(t, err)
	p.Stop()
	p.Advance(time.Hour)
	require.Len(t, reader.Nodes("dc-a", "rooms"), 1)
	require.False(t, reader.Ready())
	require.GreaterOrEqual(t, reader.Age(), time.Hour-time.Second)
	_, err = p.Open(t.Context(), Config{})
	require.ErrorIs(t, err, dcplane.ErrUnavailable)
	p.Start(true)
	p.Advance(time.Hour)
	require.Len(t, reader.Nodes("dc-a", "rooms"), 1, "registered again by itself")
	require.True(t, reader.Ready())
	writer.Crash()
	p.Advance(dcplane.DefaultLease + 250*time.Millisecond)
	require.Empty(t, reader.Nodes("dc-a", "rooms"))
}

func TestAdvanceNeedsManualClock(t *testing.T) {
	t.Parallel()
	require.Panics(t, func() { NewPlane().Advance(time.Second) })
}

func TestOpenRefusesBadTiming(t *testing.T) {
	t.Parallel()
	_, err := NewPlane().Open(t.Context(), Config{Lease: time.Millisecond, MaxCacheStaleness: 1})
	require.ErrorContains(t, err, "lease 1ms is below 200ms")
	require.ErrorContains(t, err, "max cache staleness 1ns is below the lease 1ms")
}
