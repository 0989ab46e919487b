package nats

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/internal/engine"
)

// directory adds the connection's events to the shared engine.
type directory struct {
	dcplane.Directory
	engine *engine.Directory
	status *statusWatch
}

// Open returns a directory at once, whether or not the server can be reached; it connects in the background and for ever,
// whatever is in the way: server not reachable, JetStream still starting, bucket not creatable yet. The directory's
// Problem says what. Only a bad Config is an error.
func Open(cfg Config) (dcplane.Directory, error) {
	d, err := start(cfg)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Connect is Open that waits until the whole bucket was seen once. When ctx ends first the error wraps
// dcplane.ErrUnavailable, ctx's error and the last reason.
func Connect(ctx context.Context, cfg Config) (dcplane.Directory, error) {
	d, err := start(cfg)
	if err != nil {
		return nil, err
	}
	if err := dcplane.AwaitReady(ctx, d); err != nil {
		d.abandon()
		return nil, fmt.Errorf("connect node directory: %w", err)
	}
	return d, nil
}

func start(cfg Config) (*directory, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("connect node directory: %w", err)
	}
	cfg = cfg.withDefaults()
	l, err := dial(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect node directory: %w", err)
	}
	js, err := jetstream.New(l.conn)
	if err != nil {
		l.close()
		return nil, fmt.Errorf("connect node directory: %w", err)
	}
	e, err := engine.Start(newStore(cfg, l, js), engine.Config{
		Timing: cfg.timing(), Logger: cfg.Logger, MeterProvider: cfg.MeterProvider,
	})
	if err != nil {
		return nil, err
	}
	return &directory{Directory: e, engine: e, status: watchStatus(l.conn, e.Kick)}, nil
}

// abandon stops everything and deregisters nothing.
func (d *directory) abandon() {
	d.status.stop()
	d.engine.Abandon()
}

// Close implements dcplane.Directory.
func (d *directory) Close(ctx context.Context) error {
	d.status.stop()
	return d.engine.Close(ctx)
}

// line is the connection to the server.
type line struct {
	conn  *natsio.Conn
	owned bool
	// failure is why the last attempt to connect failed, as far as it is known: nats.Conn.LastError does not say.
	failure atomic.Pointer[error]
}

// dial takes cfg's connection or makes one.
func dial(cfg Config) (*line, error) {
	if cfg.Conn != nil {
		return &line{conn: cfg.Conn}, nil
	}
	l := &line{owned: true}
	options := []natsio.Option{
		natsio.Name("parley node directory"),
		natsio.RetryOnFailedConnect(true),
		natsio.MaxReconnects(-1),
		natsio.IgnoreAuthErrorAbort(),
		natsio.ReconnectWait(250 * time.Millisecond),
		natsio.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		natsio.ReconnectBufSize(-1),
		natsio.ReconnectErrHandler(func(_ *natsio.Conn, err error) { l.failure.Store(&err) }),
		natsio.Timeout(2 * time.Second),
		// A frozen server or a cut cable shows no error; pings find it within some six seconds.
		natsio.PingInterval(2 * time.Second),
		natsio.MaxPingsOutstanding(2),
		natsio.ErrorHandler(asyncErrors(cfg.Logger)),
	}
	if cfg.InProcess != nil {
		options = append(options, natsio.InProcessServer(cfg.InProcess))
	}
	var err error
	l.conn, err = natsio.Connect(cfg.URL, append(options, cfg.Options...)...)
	return l, err
}

// check fails fast while there is no connection, with the reason: a call would only wait for its deadline, and on a
// connection passed in it might even be buffered and arrive much later.
func (l *line) check() error {
	status := l.conn.Status()
	if status == natsio.CONNECTED {
		return nil
	}
	reason := l.conn.LastError()
	if last := l.failure.Load(); last != nil {
		reason = *last
	}
	if reason == nil {
		return fmt.Errorf("not connected to nats: %s", strings.ToLower(status.String()))
	}
	return fmt.Errorf("not connected to nats: %w", reason)
}

// close closes an owned connection.
func (l *line) close() {
	if l.owned {
		l.conn.Close()
	}
}

// asyncErrors keeps the client from printing to stderr. What matters shows up as failed calls.
func asyncErrors(logger *slog.Logger) natsio.ErrHandler {
	return func(_ *natsio.Conn, _ *natsio.Subscription, err error) {
		logger.Debug("nats connection", "err", err)
	}
}

// statusWatch calls back whenever the connection is (re-)established.
type statusWatch struct {
	conn   *natsio.Conn
	events chan natsio.Status
	once   sync.Once
	done   chan struct{}
}

func watchStatus(conn *natsio.Conn, connected func()) *statusWatch {
	w := &statusWatch{conn: conn, events: conn.StatusChanged(natsio.CONNECTED), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		for range w.events {
			connected()
		}
	}()
	return w
}

func (w *statusWatch) stop() {
	w.once.Do(func() { w.conn.RemoveStatusListener(w.events) })
	<-w.done
}
