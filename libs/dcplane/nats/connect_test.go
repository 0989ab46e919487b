package nats

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsio "github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/dcplane"
)

const patience = 30 * time.Second

// await waits, woken by Changed only, until ok holds of d.
func await(t *testing.T, d dcplane.Directory, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		changed := d.Changed()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			require.FailNow(t, "never happened", "nodes: %v", d.Nodes("dc-a", "rooms"))
		}
	}
}

func awaitNode(t *testing.T, d dcplane.Directory, n dcplane.Node) {
	t.Helper()
	await(t, d, func() bool {
		got, ok := d.Lookup(n.DC, n.Service, n.Name)
		return ok && got == n
	})
}

// unready runs Connect until a deadline and returns its error.
func unready(t *testing.T, cfg Config) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := Connect(ctx, cfg)
	require.ErrorIs(t, err, dcplane.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	return err
}

func TestConnectSaysWhyNotReachable(t *testing.T) {
	t.Parallel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, free.Close())
	err = unready(t, Config{URL: "nats://" + free.Addr().String()})
	require.ErrorContains(t, err, "not connected to nats: dial tcp "+free.Addr().String()+": connect: connection refused")
}

func TestConnectSaysWhyNoBucket(t *testing.T) {
	t.Parallel()
	err := unready(t, Config{URL: startServer(t, &server.Options{}).ClientURL()})
	require.ErrorContains(t, err, "jetstream does not answer; it is not enabled or still starting")
}

func TestConnectSaysWhyNotAllowed(t *testing.T) {
	t.Parallel()
	locked := startServer(t, &server.Options{Username: "u", Password: "right"})
	err := unready(t, Config{URL: strings.Replace(locked.ClientURL(), "//", "//u:wrong@", 1)})
	require.ErrorContains(t, err, "Authorization Violation")
	require.NotContains(t, err.Error(), "wrong")
}

// startServer starts a plain server on a free port.
func startServer(t *testing.T, o *server.Options) *server.Server {
	t.Helper()
	o.Host, o.Port, o.NoSigs, o.NoLog = "127.0.0.1", server.RANDOM_PORT, true, true
	s, err := server.NewServer(o)
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	require.True(t, s.ReadyForConnections(patience))
	return s
}

// TestConnectWaitsForJetStream: at the start of a deployment the server answers before its JetStream does.
func TestConnectWaitsForJetStream(t *testing.T) {
	t.Parallel()
	s := startServer(t, &server.Options{})
	log := &lockedBuffer{written: make(chan struct{}, 1)}
	connected := make(chan dcplane.Directory, 1)
	failed := make(chan error, 1)
	go func() {
		d, err := Connect(t.Context(), Config{URL: s.ClientURL(), Logger: slog.New(slog.NewTextHandler(log, nil))})
		if err != nil {
			failed <- err
			return
		}
		connected <- d
	}()
	<-log.written // "control plane not answering"
	require.NoError(t, s.EnableJetStream(&server.JetStreamConfig{StoreDir: t.TempDir(), MaxMemory: 64 << 20, MaxStore: 64 << 20}))
	select {
	case d := <-connected:
		require.True(t, d.Ready())
		require.NoError(t, d.Close(t.Context()))
	case err := <-failed:
		require.NoError(t, err)
	case <-time.After(patience):
		require.FailNow(t, "not connected")
	}
	require.Equal(t, 1, strings.Count(log.String(), "control plane not answering"), log)
}

// lockedBuffer is a log that tests read while it is written.
type lockedBuffer struct {
	written chan struct{} // signalled, never blocked on
	mu      sync.Mutex
	buf     bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.written <- struct{}{}:
	default:
	}
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestConnectInProcess(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	writer, reader := connect(t, Config{InProcess: p.server}), connect(t, Config{InProcess: p.server})
	_, err := writer.Register(t.Context(), sample())
	require.NoError(t, err)
	awaitNode(t, reader, sample())
}

func TestConnectionPassedInStaysOpen(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	conn, err := natsio.Connect(p.server.URL())
	require.NoError(t, err)
	defer conn.Close()
	d := connect(t, Config{Conn: conn})
	_, err = d.Register(t.Context(), sample())
	require.NoError(t, err)
	awaitNode(t, d, sample())
	require.NoError(t, d.Close(t.Context()))
	require.True(t, conn.IsConnected())
	require.NoError(t, conn.Flush())
}

func TestConnectionClosedByItsOwner(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	conn, err := natsio.Connect(p.server.URL())
	require.NoError(t, err)
	d := connect(t, Config{Conn: conn, Lease: 400 * time.Millisecond, MaxCacheStaleness: 400 * time.Millisecond})
	r, err := d.Register(t.Context(), sample())
	require.NoError(t, err)
	awaitNode(t, d, sample())
	conn.Close()
	await(t, d, func() bool { return !d.Ready() })
	require.ErrorIs(t, r.Update(t.Context(), dcplane.StateDraining, 0), dcplane.ErrUnavailable)
	awaitNode(t, d, sample())
}
