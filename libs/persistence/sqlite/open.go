package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/sqlite/internal/lite"
)

// Backend is a journal in one SQLite file. Safe for concurrent use.
type Backend struct {
	queue   *queue
	writer  *writer
	readers chan *reader
	count   int // of readers
	metrics *metrics
	lock    *fileLock
	now     func() time.Time
	// closing is closed when Close begins, closed when it has ended with the error in closeErr.
	closing   chan struct{}
	closed    chan struct{}
	closeErr  error
	closeOnce sync.Once
}

var (
	_ persistence.Backend       = (*Backend)(nil)
	_ persistence.AsyncAppender = (*Backend)(nil)
)

// Open opens the journal in the file at path, creating file and directory when they are missing, both for the owner's
// eyes only (0600, 0700), and brings its schema up to date. The journal belongs to this Backend until Close: another Open
// of the file, from whatever process, fails with *LockedError. ErrSchemaVersion when a newer version wrote it.
func Open(ctx context.Context, path string, opts Options) (*Backend, error) {
	b, err := open(ctx, path, opts.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("open journal %s: %w", path, err)
	}
	return b, nil
}

func open(ctx context.Context, path string, opts Options) (_ *Backend, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if path, err = prepareFile(path); err != nil {
		return nil, err
	}
	lock, err := acquireLock(path)
	if err != nil {
		return nil, err
	}
	b := &Backend{
		queue:   newQueue(),
		readers: make(chan *reader, opts.Readers),
		lock:    lock,
		now:     opts.Now,
		closing: make(chan struct{}),
		closed:  make(chan struct{}),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.free())
		}
	}()
	if err := createFile(path); err != nil {
		return nil, err
	}
	if b.metrics, err = newMetrics(opts.MeterProvider); err != nil {
		return nil, err
	}
	w := &writer{
		path: path, queue: b.queue, log: opts.Logger, now: opts.Now, metrics: b.metrics, done: make(chan struct{}),
	}
	if err := w.open(); err != nil {
		return nil, err
	}
	b.writer = w
	for range opts.Readers {
		r, err := openReader(path)
		if err != nil {
			return nil, err
		}
		b.readers <- r
		b.count++
	}
	go w.run()
	return b, nil
}

// prepareFile makes the directory and returns the path with symbolic links resolved, so that one file has one lock.
func prepareFile(path string) (string, error) {
	if path == "" {
		return "", fmt.Errorf("path is empty: %w", persistence.ErrInvalid)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("make its directory: %w: %w", persistence.ErrUnavailable, err)
	}
	resolved, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	return resolved, err
}

// createFile creates an empty database with the permissions that SQLite then gives to its -wal and -shm files as well.
func createFile(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("create the file: %w: %w", persistence.ErrUnavailable, err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("create the file: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a new directory entry survive a power loss.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync the directory: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}

// connect opens a connection with the journal's settings.
func connect(path string) (*lite.Conn, error) {
	c, err := lite.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", persistence.ErrUnavailable, err)
	}
	if err := configure(c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func configure(c *lite.Conn) error {
	// The log is checkpointed every 4,000 pages (16 MiB): pages of the index are dirtied again and again and reach
	// the file once. FULL costs nothing over NORMAL once commits are grouped.
	if err := c.Exec(`
		PRAGMA busy_timeout = 10000;
		PRAGMA synchronous = FULL;
		PRAGMA foreign_keys = OFF;
		PRAGMA temp_store = MEMORY;
		PRAGMA cache_size = -32768;
		PRAGMA wal_autocheckpoint = 4000;
		PRAGMA journal_size_limit = 67108864;`); err != nil {
		return fmt.Errorf("configure the connection: %w: %w", persistence.ErrUnavailable, err)
	}
	s, err := c.Prepare("PRAGMA journal_mode = WAL")
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.Step(); err != nil {
		return fmt.Errorf("switch to write-ahead logging: %w: %w", persistence.ErrUnavailable, err)
	}
	if mode := s.ColumnText(0); mode != "wal" {
		return fmt.Errorf("journal mode is %q: the file system has no shared memory for write-ahead logging: %w", mode, persistence.ErrUnavailable)
	}
	return nil
}

// Ping proves that the journal takes writes: it commits one.
func (b *Backend) Ping(ctx context.Context) error {
	if err := b.submit(ctx, &request{mutation: pingMutation{}, events: 1}); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	return nil
}

type pingMutation struct{}

func (pingMutation) apply(w *writer) error {
	w.st.probe.Int(1, w.at.UnixNano())
	return w.st.probe.Run()
}

// Close refuses new work with ErrClosed, finishes what was accepted, moves the log into the file and frees everything.
// When ctx ends first it fails what is still queued with ErrClosed, returns the error of ctx, and the rest is freed as
// soon as the commit under way ends.
func (b *Backend) Close(ctx context.Context) error {
	b.closeOnce.Do(func() {
		close(b.closing)
		b.queue.close()
		go b.shutdown()
	})
	select {
	case <-b.closed:
		return b.closeErr
	case <-ctx.Done():
		b.queue.drop()
		return fmt.Errorf("close journal: %w", ctx.Err())
	}
}

// shutdown waits for the writer and the readers. Owned by Close.
func (b *Backend) shutdown() {
	defer close(b.closed)
	<-b.writer.done
	b.closeErr = b.free()
}

// free closes what is open. The readers go first, so that the last connection can empty the log.
func (b *Backend) free() error {
	var errs error
	for range b.count {
		errs = errors.Join(errs, (<-b.readers).close())
	}
	if b.writer != nil && b.writer.conn != nil {
		errs = errors.Join(errs, b.writer.conn.Checkpoint())
		b.writer.close()
	}
	errs = errors.Join(errs, b.lock.release())
	if errs != nil {
		return fmt.Errorf("close journal: %w", errs)
	}
	return nil
}
