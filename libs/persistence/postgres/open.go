package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/internal/migrations"
)

// Backend is a journal in a Postgres database. Safe for concurrent use, also by many processes on one database.
type Backend struct {
	cfg  config
	opts Options
	log  *slog.Logger

	pool     *pgxpool.Pool // reads
	lanes    *lanes
	writers  []*writer
	sessions *sessionWriter
	slots    chan *slot // writes outside the lanes
	// urgentSlots are those of leases, checkpoints and Ping; waiting counts who waits for or has a slot.
	urgentSlots chan *slot
	waiting     atomic.Int64
	recoveries  *recoveries
	breaker     *breaker
	probing     chan struct{} // wakes the prober
	metrics     *metrics
	tracer      trace.Tracer
	// wideUntil is when pages need not be cut by the server any more, in Unix nanoseconds.
	wideUntil atomic.Int64
	// unconnected counts the times in a row that no host let a writer connect in time.
	unconnected atomic.Int64
	// written is when something was last stored, in Unix nanoseconds.
	written atomic.Int64

	// lifetime ends when everything has been answered.
	lifetime context.Context
	end      context.CancelFunc
	// background holds what runs beside the writers.
	background sync.WaitGroup
	// closing is closed when Close begins, dropping when it will not wait any more, closed when it has ended.
	closing, dropping, closed chan struct{}
	closeOnce, dropOnce       sync.Once
	closeErr                  error
}

var (
	_ persistence.Backend       = (*Backend)(nil)
	_ persistence.AsyncAppender = (*Backend)(nil)
)

// Open opens the journal in the database that url names, as libpq understands it; search_path names its schema, "parley"
// if it does not. With several hosts it follows the one that takes writes. Open brings the schema up to date unless told
// otherwise. Errors: ErrInvalid, ErrSchemaVersion, ErrUnavailable.
func Open(ctx context.Context, url string, opts Options) (*Backend, error) {
	cfg, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	steps, err := migrations.Load(migrationFiles)
	if err != nil {
		return nil, err
	}
	b, err := open(ctx, cfg, opts.withDefaults(), steps)
	if err != nil {
		return nil, fmt.Errorf("open journal on %s: %w", cfg.describe(), err)
	}
	return b, nil
}

func open(ctx context.Context, cfg config, opts Options, steps []migrations.Step) (_ *Backend, err error) {
	ids, err := prepareSchema(ctx, cfg, opts, steps)
	if err != nil {
		return nil, err
	}
	b := &Backend{
		cfg: cfg, opts: opts, log: opts.Logger,
		breaker: &breaker{},
		probing: make(chan struct{}, 1),
		slots:   make(chan *slot, singles), urgentSlots: make(chan *slot, urgents),
		tracer:  opts.TracerProvider.Tracer(meterName),
		closing: make(chan struct{}), dropping: make(chan struct{}), closed: make(chan struct{}),
	}
	b.lifetime, b.end = context.WithCancel(context.WithoutCancel(ctx))
	b.lanes = newLanes(ids, b.breaker)
	b.sessions = newSessionWriter(b)
	b.recoveries = &recoveries{b: b}
	if b.pool, err = newPool(b.lifetime, cfg, opts); err != nil {
		b.end()
		return nil, err
	}
	if b.metrics, err = newMetrics(opts.MeterProvider, b); err != nil {
		b.end()
		b.pool.Close()
		return nil, err
	}
	for range singles {
		b.slots <- &slot{}
	}
	for range urgents {
		b.urgentSlots <- &slot{}
	}
	for i := range b.lanes.all {
		w := &writer{b: b, number: i, enc: newAppendEncoder(len(ids)), done: make(chan struct{})}
		b.writers = append(b.writers, w)
		go w.run()
	}
	go b.sessions.run()
	b.background.Go(b.probe)
	return b, nil
}

// prepareSchema migrates or checks, and returns the lanes there are.
func prepareSchema(ctx context.Context, cfg config, opts Options, steps []migrations.Step) (ids []int16, err error) {
	m, err := openMigrator(ctx, cfg, opts, steps)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close(context.WithoutCancel(ctx))) }()
	if opts.NoMigration {
		err = m.checkSchema(ctx)
	} else {
		err = m.MigrateUp(ctx)
	}
	if err != nil {
		return nil, err
	}
	var fsync string
	if err := m.conn.QueryRow(ctx, `SHOW fsync`).Scan(&fsync); err == nil && fsync != "on" {
		opts.Logger.Warn("the server runs with fsync off: a loss of power loses acknowledged messages")
	}
	heads, err := queryLanes(ctx, m.conn)
	if err != nil {
		return nil, connectionError(err)
	}
	if len(heads) == 0 {
		return nil, fmt.Errorf("journal_lane is empty: %w", persistence.ErrCorrupt)
	}
	for _, h := range heads {
		ids = append(ids, h.Lane)
	}
	return ids, nil
}

func newPool(ctx context.Context, cfg config, opts Options) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig("")
	if err != nil {
		return nil, fmt.Errorf("configure the pool: %w", err)
	}
	c.ConnConfig = cfg.base.Copy()
	c.ConnConfig.DialFunc = opts.Dial
	c.ConnConfig.Tracer = otelpgx.NewTracer(
		otelpgx.WithTracerProvider(opts.TracerProvider), otelpgx.WithMeterProvider(opts.MeterProvider))
	c.AfterConnect = func(ctx context.Context, pg *pgx.Conn) error {
		if _, err := pg.PgConn().Exec(ctx, readerSettings).ReadAll(); err != nil {
			return fmt.Errorf("settings of the connection: %w", err)
		}
		return nil
	}
	c.MaxConns = int32(opts.Readers)
	c.MaxConnIdleTime = 5 * time.Minute
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("make the pool: %w", err)
	}
	return pool, nil
}

// describe names the database without the password.
func (c config) describe() string {
	return fmt.Sprintf("%s:%d/%s (schema %s)", c.base.Host, c.base.Port, c.base.Database, c.schema)
}

// refuses says why a write is not even tried.
func (b *Backend) refuses(ctx context.Context) error {
	if err := b.open(ctx); err != nil {
		return err
	}
	return b.breaker.refuses()
}

func (b *Backend) open(ctx context.Context) error {
	select {
	case <-b.closing:
		return persistence.ErrClosed
	default:
		return ended(ctx)
	}
}

// Close refuses new work with ErrClosed, finishes what was accepted and closes every connection. When ctx ends first, what
// is queued fails with ErrClosed, what is under way with ErrUnknown or ErrClosed, and Close returns the error of ctx.
func (b *Backend) Close(ctx context.Context) error {
	b.closeOnce.Do(func() {
		close(b.closing)
		b.lanes.close()
		b.sessions.close()
		go b.shutdown()
	})
	select {
	case <-b.closed:
		return b.closeErr
	case <-ctx.Done():
		b.dropOnce.Do(func() {
			b.lanes.drop()
			close(b.dropping)
			b.end()
		})
		return fmt.Errorf("close journal: %w", ctx.Err())
	}
}

// shutdown waits for the writers and frees what there is. Owned by Close.
func (b *Backend) shutdown() {
	defer close(b.closed)
	for _, w := range b.writers {
		<-w.done
	}
	<-b.sessions.done
	for range singles {
		b.release(<-b.slots)
	}
	for range urgents {
		b.release(<-b.urgentSlots)
	}
	b.end()
	b.background.Wait()
	b.closeErr = b.metrics.close()
	b.pool.Close()
}

func (b *Backend) release(s *slot) {
	if s.conn != nil {
		b.farewell(s.conn)
	}
}

// farewell closes a connection that is not needed any more.
func (b *Backend) farewell(c *conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := c.shut(ctx); err != nil {
		b.log.Debug("close a connection", "err", err)
	}
}
