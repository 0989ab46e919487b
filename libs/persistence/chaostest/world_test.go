package chaostest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/persistencetest"
	"github.com/parley-rt/parley/libs/persistence/persistencetest/pgtest"
	"github.com/parley-rt/parley/libs/persistence/postgres"
)

// setup says which servers a world has.
type setup struct {
	nodes int // 0: 3
	// standby: commits wait for a second server, which can take over.
	standby bool
	// disk is the size in MiB of the file system that the server is on; 0: an ordinary one.
	disk int
	// weaken takes a protection away from each node; nil: none.
	weaken func() weakening
}

// weakening is one protection less, on one node.
type weakening struct {
	dial func(persistencetest.DialFunc) persistencetest.DialFunc
	wrap func(persistence.Backend) persistence.Backend
}

// standbyName is what synchronous_standby_names calls the standby, whichever cluster it is.
const standbyName = "s1"

// world is the servers, the nodes, and what is between them.
type world struct {
	t       testing.TB
	setup   setup
	load    *load
	disk    string
	reader  *metric.ManualReader
	metrics *metric.MeterProvider
	// ways[i] are node i's ways to the primary and to the standby. After a failover they lead to those who are it then.
	ways [][]*pgtest.Proxy
	// link is between the primary and its standby.
	link *pgtest.Proxy

	// starts numbers nodes.
	starts atomic.Int64
	// primary, standby and ways change by a failover, which has a scenario without other faults beside it.
	primary, standby *pgtest.Cluster
	part             int32 // the newest partition that somebody wanted

	mu   sync.Mutex
	hits map[string]int
}

func newWorld(t testing.TB, s setup) *world {
	t.Helper()
	if s.nodes == 0 {
		s.nodes = 3
	}
	w := &world{t: t, setup: s, hits: map[string]int{}, reader: metric.NewManualReader()}
	w.metrics = metric.NewMeterProvider(metric.WithReader(w.reader))
	opts := pgtest.Options{Settings: map[string]string{"max_wal_size": "128MB"}}
	if s.disk > 0 {
		w.disk = pgtest.SmallDisk(t, s.disk)
		opts.DataDir = w.disk
	}
	w.primary = pgtest.Start(t, opts)
	if s.standby {
		w.replicate(t.Context())
	}
	for range s.nodes {
		w.addWays()
	}
	return w
}

// replicate starts the first standby, and makes commits wait for it.
func (w *world) replicate(ctx context.Context) {
	link, err := pgtest.NewProxy(w.primary.Addr())
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, link.Close()) })
	w.link = link
	require.NoError(w.t, w.addStandby(ctx))
	require.NoError(w.t, w.primary.Exec(ctx, "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 ("+standbyName+")'"))
	require.NoError(w.t, w.primary.Exec(ctx, "SELECT pg_reload_conf()"))
	require.NoError(w.t, await(ctx, func() (quorum bool, err error) {
		err = w.primary.QueryRow(ctx, "SELECT count(*) > 0 FROM pg_stat_replication WHERE sync_state = 'quorum'").Scan(&quorum)
		return quorum, err
	}))
	// The checkpointer tells the others whether to wait, and reads its configuration before it begins a checkpoint.
	require.NoError(w.t, w.primary.Exec(ctx, "CHECKPOINT"))
}

// addStandby makes a standby of the primary, which follows it through the link and which, once promoted, waits for a standby
// in its turn.
func (w *world) addStandby(ctx context.Context) error {
	standby, err := w.primary.Standby(ctx, standbyName, pgtest.Options{
		Settings: map[string]string{"synchronous_standby_names": "ANY 1 (" + standbyName + ")"},
	})
	if err != nil {
		return fmt.Errorf("add a standby: %w", err)
	}
	w.standby = standby
	connections := w.link.Counts().Connections
	w.link.SetTarget(w.primary.Addr())
	host, port, err := net.SplitHostPort(w.link.Addr())
	if err != nil {
		return fmt.Errorf("add a standby: %w", err)
	}
	info := fmt.Sprintf("host=%s port=%s user=parley application_name=%s", host, port, standbyName)
	for _, sql := range []string{"ALTER SYSTEM SET primary_conninfo = '" + info + "'", "SELECT pg_reload_conf()"} {
		if err := standby.Exec(ctx, sql); err != nil {
			return fmt.Errorf("add a standby: %w", err)
		}
	}
	for _, ways := range w.ways {
		ways[0].SetTarget(w.primary.Addr())
		ways[1].SetTarget(standby.Addr())
	}
	return await(ctx, func() (streams bool, err error) {
		if w.link.Counts().Connections == connections {
			return false, nil // it still follows past the link
		}
		err = w.primary.QueryRow(ctx, "SELECT count(*) = 1 AND bool_and(state = 'streaming') FROM pg_stat_replication").Scan(&streams)
		return streams, err
	})
}

// addWays makes a node's ways to the servers.
func (w *world) addWays() {
	servers := []*pgtest.Cluster{w.primary}
	if w.standby != nil {
		servers = append(servers, w.standby)
	}
	var ways []*pgtest.Proxy
	for _, server := range servers {
		way, err := pgtest.NewProxy(server.Addr())
		require.NoError(w.t, err)
		w.t.Cleanup(func() { require.NoError(w.t, way.Close()) })
		ways = append(ways, way)
	}
	w.ways = append(w.ways, ways)
}

// openNode starts the process that has a slot.
func (w *world) openNode(ctx context.Context, slot int) (*node, error) {
	var addrs []string
	for _, way := range w.ways[slot] {
		addrs = append(addrs, way.Addr())
	}
	weak := weakening{}
	if w.setup.weaken != nil {
		weak = w.setup.weaken()
	}
	opts := postgres.Options{MeterProvider: w.metrics}
	if weak.dial != nil {
		opts.Dial = weak.dial((&net.Dialer{}).DialContext)
	}
	backend, err := postgres.Open(ctx, "postgres://parley@"+strings.Join(addrs, ",")+"/parley?sslmode=disable", opts)
	if err != nil {
		return nil, fmt.Errorf("open a node: %w", err)
	}
	n := &node{name: fmt.Sprintf("node-%d.%d", slot, w.starts.Add(1)), slot: slot, Backend: backend}
	if weak.wrap != nil {
		n.Backend = weak.wrap(backend)
	}
	return n, nil
}

// hit counts what faults had an effect on.
func (w *world) hit(name string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hits[name] += n
}

// heal ends all faults.
func (w *world) heal(ctx context.Context) error {
	var errs []error
	for _, ways := range w.ways {
		for _, way := range ways {
			way.Heal()
		}
	}
	if w.disk != "" {
		errs = append(errs, pgtest.Free(w.disk))
	}
	errs = append(errs, w.primary.Resume(), w.startAgain(ctx))
	if w.standby != nil {
		w.link.Heal()
		w.load.witness.standbyBack()
		errs = append(errs, w.standby.Resume())
	}
	return errors.Join(errs...)
}

// startAgain starts the primary if it does not run.
func (w *world) startAgain(ctx context.Context) error {
	if w.primary.PID() != 0 {
		return nil
	}
	return w.primary.StartAgain(ctx)
}

// store opens the journal past all proxies, to look at the end.
func (w *world) store(ctx context.Context) (*postgres.Backend, error) {
	return postgres.Open(ctx, w.primary.URL(), postgres.Options{})
}

// close closes the nodes.
func (w *world) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), aliveWithin)
	defer cancel()
	var errs []error
	for _, n := range w.load.nodes {
		if err := n.Close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", n.name, err))
		}
	}
	return errors.Join(errs...)
}

// Counters of the backend.
const (
	resubmittedBatches = "parley.journal.resubmitted"
	settledAppends     = "parley.journal.settled"
)

// counter is a sum over all nodes.
func (w *world) counter(name string) (sum int64) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var all metricdata.ResourceMetrics
	_ = w.reader.Collect(ctx, &all) // some metrics are read from the server, which may be away; counters are there all the same
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if data, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == name {
				for _, point := range data.DataPoints {
					sum += point.Value
				}
			}
		}
	}
	return sum
}

// awaitWithin bounds what a server needs to get where it is to be.
const awaitWithin = 30 * time.Second

// await asks until the answer is yes. Errors are those of a server that is on its way; the last one is returned.
func await(ctx context.Context, ask func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, awaitWithin)
	defer cancel()
	for {
		yes, err := ask()
		if err == nil && yes {
			return nil
		}
		if !pause(ctx, 20*time.Millisecond) {
			return errors.Join(errors.New("the server did not get there"), ctx.Err(), err)
		}
	}
}
