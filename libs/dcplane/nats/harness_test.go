package nats

import (
	"context"
	"log/slog"
	"testing"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/dcplanetest"
	"github.com/parley-rt/parley/libs/dcplane/nats/embedded"
)

func TestMain(m *testing.M) { dcplanetest.Main(m) }

// plane is an embedded server behind a proxy that can be cut, so that an outage need not lose the bucket, which lives in
// the server's memory.
type plane struct {
	server *embedded.Server
	dir    string
	proxy  *dcplanetest.Proxy
	// freezes makes an outage one in which connections stay open and nothing passes, as behind a cut cable or a server
	// that hangs; what was sent arrives when it ends.
	freezes bool
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	p := &plane{dir: t.TempDir()}
	p.proxy = dcplanetest.NewProxy(t)
	p.startServer(t)
	t.Cleanup(func() { require.NoError(t, p.server.Shutdown(context.Background())) })
	return p
}

func (p *plane) startServer(t *testing.T) {
	t.Helper()
	var err error
	p.server, err = embedded.Start(t.Context(), embedded.Config{Dir: p.dir, Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	p.proxy.Connect(p.server.URL()[len("nats://"):])
}

func (p *plane) config(timing dcplanetest.Timing) Config {
	return Config{
		URL: "nats://" + p.proxy.Addr(), Logger: slog.New(slog.DiscardHandler),
		Lease: timing.Lease, RefreshEvery: timing.RefreshEvery, MaxCacheStaleness: timing.MaxCacheStaleness,
	}
}

func (p *plane) Open(t *testing.T, timing dcplanetest.Timing) dcplane.Directory {
	t.Helper()
	d, err := Open(p.config(timing))
	require.NoError(t, err)
	closeAtEnd(t, d)
	return d
}

// connect opens a directory that is closed with the test.
func connect(t *testing.T, cfg Config) dcplane.Directory {
	t.Helper()
	d, err := Connect(t.Context(), cfg)
	require.NoError(t, err)
	closeAtEnd(t, d)
	return d
}

func closeAtEnd(t *testing.T, d dcplane.Directory) {
	t.Helper()
	t.Cleanup(func() { _ = d.Close(context.Background()) }) // fails where the test left the plane stopped
}

func (p *plane) Stop(*testing.T) {
	if p.freezes {
		p.proxy.Freeze(true)
		return
	}
	p.proxy.Cut()
}

func (p *plane) Start(t *testing.T, empty bool) {
	t.Helper()
	defer p.proxy.Freeze(false)
	if empty {
		require.NoError(t, p.server.Shutdown(t.Context()))
		p.startServer(t)
		return
	}
	p.proxy.Connect(p.server.URL()[len("nats://"):])
}

func (p *plane) Crash(_ *testing.T, d dcplane.Directory) { d.(*directory).abandon() }

func (p *plane) DropWatches(t *testing.T) {
	t.Helper()
	stream, err := p.admin(t).Stream(t.Context(), "KV_"+DefaultBucket)
	require.NoError(t, err)
	dropped := 0
	names := stream.ConsumerNames(t.Context())
	for name := range names.Name() {
		require.NoError(t, stream.DeleteConsumer(t.Context(), name))
		dropped++
	}
	require.NoError(t, names.Err())
	require.NotZero(t, dropped)
}

// admin is a connection past the proxy.
func (p *plane) admin(t *testing.T) jetstream.JetStream {
	t.Helper()
	conn, err := natsio.Connect("", natsio.InProcessServer(p.server))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	return js
}
