package memory

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/internal/engine"
)

// unsure is a store whose writes are applied but, while lying is set, reported as failed: the ambiguous outcome every
// real network has.
type unsure struct {
	store
	lying bool
}

var errLostAnswer = errors.New("answer lost")

func (u *unsure) doubt(revision uint64, err error) (uint64, error) {
	if u.lying && err == nil {
		return 0, errLostAnswer
	}
	return revision, err
}

func (u *unsure) Create(ctx context.Context, r engine.Record) (uint64, error) {
	return u.doubt(u.store.Create(ctx, r))
}

func (u *unsure) Update(ctx context.Context, r engine.Record, revision uint64) (uint64, error) {
	return u.doubt(u.store.Update(ctx, r, revision))
}

func (u *unsure) Delete(ctx context.Context, key dcplane.Key, revision uint64) error {
	_, err := u.doubt(0, u.store.Delete(ctx, key, revision))
	return err
}

// bench is one engine on a manual plane, with its store, log and metrics in reach.
type bench struct {
	plane  *Plane
	store  *unsure
	engine *engine.Directory
	log    *bytes.Buffer
	reader *sdkmetric.ManualReader
}

func setup(t *testing.T) *bench {
	t.Helper()
	b := &bench{plane: NewManualPlane(), log: &bytes.Buffer{}, reader: sdkmetric.NewManualReader()}
	b.store = &unsure{store: store{plane: b.plane}}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(b.reader))
	var err error
	b.engine, err = engine.Open(t.Context(), b.store, engine.Config{
		Logger: slog.New(slog.NewTextHandler(b.log, nil)), MeterProvider: provider, Manual: true, Now: b.plane.clock,
		Wall: func() time.Time { return time.UnixMilli(1000) },
	})
	require.NoError(t, err)
	b.plane.directories = append(b.plane.directories, &Directory{Directory: b.engine, plane: b.plane, engine: b.engine})
	t.Cleanup(b.engine.Abandon)
	return b
}

func (b *bench) register(t *testing.T, n dcplane.Node) dcplane.Registration {
	t.Helper()
	r, err := b.engine.Register(t.Context(), n)
	require.NoError(t, err)
	return r
}

func (b *bench) stored(t *testing.T) engine.Record {
	t.Helper()
	found, err := b.store.Get(t.Context(), sample().Key())
	require.NoError(t, err)
	return found.Record
}

func requireHeld(t *testing.T, r dcplane.Registration) {
	t.Helper()
	select {
	case err := <-r.Lost():
		require.FailNow(t, "registration ended", "%v", err)
	default:
	}
}

func TestAmbiguousRenewal(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.register(t, sample())
	b.store.lying = true
	require.ErrorIs(t, r.Update(t.Context(), dcplane.StateDraining, 0.5), dcplane.ErrUnavailable)
	b.plane.Advance(3 * time.Second)
	b.store.lying = false
	b.plane.Advance(3 * time.Second)
	requireHeld(t, r)
	require.Equal(t, dcplane.StateDraining, b.stored(t).Node.State)
	require.Equal(t, 1, strings.Count(b.log.String(), "node registration not renewed"), b.log)
	require.Equal(t, 1, strings.Count(b.log.String(), "node registration renewed again"), b.log)
	require.NoError(t, r.Update(t.Context(), dcplane.StateReady, 0))
}

func TestAmbiguousRenewalThenDeregister(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.register(t, sample())
	b.store.lying = true
	require.Error(t, r.Update(t.Context(), dcplane.StateDraining, 0.5))
	b.store.lying = false
	require.NoError(t, r.Deregister(t.Context()))
	_, err := b.store.Get(t.Context(), sample().Key())
	require.ErrorIs(t, err, engine.ErrNotFound)
}

func TestAmbiguousRegister(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.store.lying = true
	_, err := b.engine.Register(t.Context(), sample())
	require.ErrorIs(t, err, dcplane.ErrUnavailable)
	require.ErrorIs(t, err, errLostAnswer)
	b.store.lying = false
	requireHeld(t, b.register(t, sample()))
}

// TestTakesBack: after the plane lost everything, an older process or a broken one may be first to write our key.
func TestTakesBack(t *testing.T) {
	t.Parallel()
	for name, intruder := range map[string]engine.Record{
		"from an older registration": {Node: dcplane.Node{Incarnation: "older"}, Claim: 1},
		"from garbage":               {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			r := b.register(t, sample())
			b.plane.mu.Lock()
			b.plane.revision++
			b.plane.records[sample().Key()] = engine.Stored{Record: intruder, Revision: b.plane.revision}
			b.plane.mu.Unlock()
			b.plane.Advance(time.Second)
			requireHeld(t, r)
			require.Equal(t, sample(), b.stored(t).Node)
		})
	}
}

// TestDeregisterLeavesTheLaterProcessAlone also before the earlier one has noticed that it lost its name.
func TestDeregisterLeavesTheLaterProcessAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.register(t, sample())
	later := sample()
	later.Incarnation = "later"
	b.plane.mu.Lock()
	b.plane.revision++
	b.plane.records[later.Key()] = engine.Stored{Record: engine.Record{Node: later, Claim: 5000}, Revision: b.plane.revision}
	b.plane.mu.Unlock()
	require.NoError(t, r.Deregister(t.Context()))
	require.Equal(t, later, b.stored(t).Node)
}

func TestRecordDeletedByHand(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.register(t, sample())
	found, err := b.store.Get(t.Context(), sample().Key())
	require.NoError(t, err)
	require.NoError(t, b.store.Delete(t.Context(), sample().Key(), found.Revision))
	require.Empty(t, b.engine.Nodes("dc-a", "rooms"))
	b.plane.Advance(time.Second)
	requireHeld(t, r)
	require.Len(t, b.engine.Nodes("dc-a", "rooms"), 1)
}

// TestLogsStateChangesOnly: an hour of outage is two lines, an hour of health none.
func TestLogsStateChangesOnly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, sample())
	b.log.Reset()
	b.plane.Advance(time.Hour)
	require.Empty(t, b.log.String())
	b.plane.Stop()
	b.plane.Advance(time.Hour)
	b.plane.Start(true)
	b.plane.Advance(time.Minute)
	var lines []string
	for line := range strings.Lines(b.log.String()) {
		_, rest, _ := strings.Cut(line, `msg="`)
		message, _, _ := strings.Cut(rest, `"`)
		lines = append(lines, message)
	}
	require.ElementsMatch(t, []string{
		"control plane not answering", "node registration not renewed", "node directory stale",
		"control plane answering again", "node registration renewed again", "node directory ready",
	}, lines)
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, sample())
	draining := sample()
	draining.Name, draining.State = "rooms-2", dcplane.StateDraining
	b.register(t, draining)
	b.plane.Stop()
	b.plane.Advance(3 * time.Second)

	var got metricdata.ResourceMetrics
	require.NoError(t, b.reader.Collect(t.Context(), &got))
	require.Len(t, got.ScopeMetrics, 1)
	byName := make(map[string]metricdata.Aggregation)
	for _, m := range got.ScopeMetrics[0].Metrics {
		byName[m.Name] = m.Data
	}
	age := byName["parley.dc.cache.age"].(metricdata.Gauge[float64])
	require.InDelta(t, 3, age.DataPoints[0].Value, 0.001)
	counts := make(map[attribute.Distinct]int64)
	for _, p := range byName["parley.dc.nodes"].(metricdata.Gauge[int64]).DataPoints {
		counts[p.Attributes.Equivalent()] = p.Value
	}
	set := func(state string) attribute.Distinct {
		s := attribute.NewSet(attribute.String("service", "rooms"), attribute.String("state", state))
		return s.Equivalent()
	}
	require.Equal(t, map[attribute.Distinct]int64{set("ready"): 1, set("draining"): 1}, counts)
	failed := byName["parley.dc.renewals.failed"].(metricdata.Sum[int64])
	require.Len(t, failed.DataPoints, 1)
	require.Greater(t, failed.DataPoints[0].Value, int64(10), "two nodes, some four attempts a second for two seconds")

	b.engine.Abandon()
	got = metricdata.ResourceMetrics{}
	require.NoError(t, b.reader.Collect(t.Context(), &got))
	for _, m := range got.ScopeMetrics[0].Metrics {
		require.Equal(t, "parley.dc.renewals.failed", m.Name, "a closed directory reports no gauges")
	}
}
