package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Defaults of Config, in bytes.
const (
	DefaultMaxMemory = 64 << 20
	DefaultMaxStore  = 1 << 30
)

// Config says where the server keeps its data and who may reach it.
type Config struct {
	// Dir holds JetStream's files; created when missing. Required.
	Dir string
	// Listen is the host:port of a TCP listener, port 0 for a free one; empty for none. There is no authentication, so it
	// should be a loopback address.
	Listen string
	// MaxMemory and MaxStore bound what all streams together may take in memory and on disk.
	MaxMemory, MaxStore int64
	Logger              *slog.Logger // nil discards
}

func (c Config) options() (*server.Options, error) {
	var problems []error
	if c.Dir == "" {
		problems = append(problems, errors.New("dir is empty"))
	}
	if c.MaxMemory < 0 || c.MaxStore < 0 {
		problems = append(problems, fmt.Errorf("limits of %d and %d bytes: negative", c.MaxMemory, c.MaxStore))
	}
	o := &server.Options{
		ServerName: "parley-embedded", JetStream: true, StoreDir: c.Dir, DontListen: true,
		JetStreamMaxMemory: c.MaxMemory, JetStreamMaxStore: c.MaxStore, NoSigs: true,
	}
	if o.JetStreamMaxMemory == 0 {
		o.JetStreamMaxMemory = DefaultMaxMemory
	}
	if o.JetStreamMaxStore == 0 {
		o.JetStreamMaxStore = DefaultMaxStore
	}
	if c.Listen != "" {
		host, port, err := net.SplitHostPort(c.Listen)
		number, convErr := strconv.Atoi(port)
		switch {
		case err != nil:
			problems = append(problems, fmt.Errorf("listen address %q: %w", c.Listen, err))
		case convErr != nil || number < 0 || number > 65535:
			problems = append(problems, fmt.Errorf("listen address %q: port %q is not in 0–65535", c.Listen, port))
		}
		o.DontListen, o.Host, o.Port = false, host, number
		if number == 0 {
			o.Port = server.RANDOM_PORT
		}
	}
	return o, errors.Join(problems...)
}

// Server is a running NATS server. Its methods may be called from any goroutine.
type Server struct {
	nats *server.Server
	log  *logAdapter
	lock *os.File
	tcp  bool
}

// Start returns a server that accepts connections and has JetStream running. When it cannot, or ctx ends first, nothing
// is left behind.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	options, err := cfg.options()
	if err != nil {
		return nil, fmt.Errorf("start embedded nats: %w", err)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("start embedded nats: %w", err)
	}
	lock, err := lockFile(filepath.Join(cfg.Dir, "parley.lock"))
	if err != nil {
		return nil, fmt.Errorf("start embedded nats: %w", err)
	}
	s := &Server{log: newLogAdapter(cfg.Logger), lock: lock, tcp: cfg.Listen != ""}
	if s.nats, err = server.NewServer(options); err != nil {
		return nil, fmt.Errorf("start embedded nats: %w", errors.Join(err, lock.Close()))
	}
	s.nats.SetLoggerV2(s.log, false, false, false)
	s.nats.Start()
	if err := s.awaitReady(ctx); err != nil {
		return nil, fmt.Errorf("start embedded nats: %w", errors.Join(err, s.Shutdown(context.WithoutCancel(ctx))))
	}
	return s, nil
}

// awaitReady waits for connections and JetStream, or for the reason why there will be none.
func (s *Server) awaitReady(ctx context.Context) error {
	const look = 50 * time.Millisecond
	for {
		if err := s.log.fatal(); err != nil {
			return err
		}
		if s.nats.ReadyForConnections(look) && s.nats.JetStreamEnabled() {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("not ready: %w", err)
		}
	}
}

// InProcessConn opens a connection that never leaves the process.
func (s *Server) InProcessConn() (net.Conn, error) {
	return s.nats.InProcessConn()
}

// URL is where the TCP listener can be reached, empty without one.
func (s *Server) URL() string {
	if !s.tcp {
		return ""
	}
	return s.nats.ClientURL()
}

// Shutdown stops the server and gives the directory free. Calling it again waits for the same end. When ctx ends first it
// returns ctx's error and the stop goes on.
func (s *Server) Shutdown(ctx context.Context) error {
	done := make(chan error, 1)
	go func() {
		s.nats.Shutdown()
		s.nats.WaitForShutdown()
		if err := s.lock.Close(); !errors.Is(err, os.ErrClosed) {
			done <- err
		}
		close(done)
	}()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("stop embedded nats: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop embedded nats: %w", ctx.Err())
	}
}
