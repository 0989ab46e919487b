package pgtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	dataName = "data"
	loopback = "127.0.0.1"
	// startTimeout bounds what Start does, on a machine that is busy with other tests.
	startTimeout = 2 * time.Minute
	closeTimeout = 30 * time.Second
	shownLines   = 80
)

// Options of a cluster; the zero value is right for most tests.
type Options struct {
	// Settings are lines of postgresql.conf that go before the package's own; see Settings for those.
	Settings map[string]string
	// DataDir is the directory in which the cluster's data directory is made, for example one from SmallDisk. It is given to
	// the user who runs Postgres. Empty: a temporary directory.
	DataDir string
	// Host is an address of this machine at which the server listens besides 127.0.0.1, for clients from the same /24 network. Addr
	// and URL then have it. Empty: 127.0.0.1 only.
	Host string
}

// Settings are what every cluster has: durable like production, small, and with nothing outside its directory.
func Settings() map[string]string {
	return map[string]string{
		"listen_addresses":        loopback,
		"unix_socket_directories": "",
		"max_connections":         "200",
		"shared_buffers":          "128MB",
		"fsync":                   "on",
		"synchronous_commit":      "on",
		"wal_level":               "replica",
		"max_wal_senders":         "10",
		"wal_keep_size":           "256MB", // a standby that is paused for a while finds its place again
		"hot_standby":             "on",
		"timezone":                "UTC",
		"log_timezone":            "UTC",
		"log_line_prefix":         "%m [%p] %a ",
		// In files below the data directory: what kill -9 leaves in /dev/shm, nobody would ever remove.
		"dynamic_shared_memory_type": "mmap",
	}
}

// Cluster is a Postgres server with its data.
type Cluster struct {
	install  install
	host     string
	dir      *directory
	data     string // the data directory, maybe outside dir
	log      *os.File
	port     port
	settings map[string]string

	mu         sync.Mutex // held while the cluster starts, stops, pauses or resumes
	postmaster *postmaster
	keeper     *keeper // while paused
	// survivors are processes of a postmaster that was killed alone.
	survivors []process
	standbys  []*Cluster
	closed    bool
}

// Start starts an empty cluster that ends with the test. When the test fails, the end of the server's log is shown.
func Start(tb testing.TB, opts Options) *Cluster {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	c, err := New(ctx, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("the end of the Postgres server's log:\n%s", c.logTail())
		}
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// New starts an empty cluster; Close ends it. ctx bounds the start only.
func New(ctx context.Context, opts Options) (*Cluster, error) {
	c, err := prepare(opts, Settings())
	if err != nil {
		return nil, err
	}
	if err := c.create(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// prepare makes a cluster that has no data yet.
func prepare(opts Options, settings map[string]string) (*Cluster, error) {
	i, err := findInstall()
	if err != nil {
		return nil, err
	}
	dir, err := newDirectory()
	if err != nil {
		return nil, err
	}
	c := &Cluster{install: i, host: loopback, dir: dir, data: filepath.Join(dir.path, dataName), settings: settings}
	if opts.Host != "" {
		c.host = opts.Host
		c.settings["listen_addresses"] += "," + opts.Host
	}
	maps.Copy(c.settings, opts.Settings)
	if opts.DataDir != "" {
		c.data = filepath.Join(opts.DataDir, dataName)
		err = i.own(opts.DataDir)
	}
	if err == nil {
		err = i.own(c.data)
	}
	if err == nil {
		c.log, err = os.OpenFile(filepath.Join(dir.path, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	}
	if err == nil {
		c.port, err = reservePort()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare a cluster: %w", err), c.Close())
	}
	return c, nil
}

// create fills the data directory and starts the server. Nothing of an empty cluster needs to survive a power cut.
func (c *Cluster) create(ctx context.Context) error {
	err := c.install.run(ctx, c.data, "initdb", "-D", c.data, "-U", superuser, "--auth=trust", "--encoding=UTF8", "--locale=C",
		"--no-sync", "--no-instructions")
	if err != nil {
		return err
	}
	if err := errors.Join(c.configure(), c.admit()); err != nil {
		return err
	}
	if err := c.StartAgain(ctx); err != nil {
		return err
	}
	return c.createDatabase(ctx)
}

// configure writes postgresql.conf anew. It is a file and no command line so that ALTER SYSTEM has the last word.
func (c *Cluster) configure() error {
	var text strings.Builder
	fmt.Fprintf(&text, "port = %d\n", c.port.number)
	for _, name := range slices.Sorted(maps.Keys(c.settings)) {
		fmt.Fprintf(&text, "%s = '%s'\n", name, strings.ReplaceAll(c.settings[name], "'", "''"))
	}
	if err := os.WriteFile(filepath.Join(c.data, "postgresql.conf"), []byte(text.String()), 0o644); err != nil {
		return fmt.Errorf("configure Postgres: %w", err)
	}
	return nil
}

// admit lets clients from the host's network in; initdb has let in those from 127.0.0.1.
func (c *Cluster) admit() (err error) {
	if c.host == loopback {
		return nil
	}
	hba, err := os.OpenFile(filepath.Join(c.data, "pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("configure Postgres: %w", err)
	}
	defer func() { err = errors.Join(err, hba.Close()) }()
	if _, err := fmt.Fprintf(hba, "host all all %s/24 trust\n", c.host); err != nil {
		return fmt.Errorf("configure Postgres: %w", err)
	}
	return nil
}

// Close ends the cluster, those that Standby made of it, and removes everything. Only the first call does something.
func (c *Cluster) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	var errs []error
	for _, standby := range c.standbys {
		errs = append(errs, standby.Close())
	}
	errs = append(errs, c.end())
	removeSharedMemory(c.data)
	if err := os.RemoveAll(c.data); err != nil {
		errs = append(errs, fmt.Errorf("remove the cluster: %w", err))
	}
	if c.log != nil {
		errs = append(errs, c.log.Close())
	}
	return errors.Join(append(errs, c.port.release(), c.dir.remove())...)
}

// end leaves no process behind: immediately, because the data goes with it.
func (c *Cluster) end() error {
	if c.keeper != nil {
		if err := c.resume(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if c.postmaster.runs() {
		if err := c.stop(ctx, "immediate"); err != nil {
			return errors.Join(err, c.kill())
		}
	}
	return awaitGone(ctx, c.survivors)
}

// Addr is where the server listens, like "127.0.0.1:41234". It survives restarts.
func (c *Cluster) Addr() string { return net.JoinHostPort(c.host, strconv.Itoa(c.port.number)) }

// PID is the postmaster's process id, 0 when it does not run.
func (c *Cluster) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.postmaster.runs() {
		return 0
	}
	return c.postmaster.pid
}

// Log returns everything that the server logged so far, in all its lives.
func (c *Cluster) Log() (string, error) {
	body, err := os.ReadFile(c.log.Name())
	if err != nil {
		return "", fmt.Errorf("read the server's log: %w", err)
	}
	return string(body), nil
}

func (c *Cluster) logTail() string {
	text, err := c.Log()
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-shownLines):], "\n")
}
