package etcd

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/dcplanetest"
	"github.com/parley-rt/parley/libs/dcplane/etcd/etcdtest"
	"github.com/parley-rt/parley/libs/dcplane/internal/engine"
)

func TestMain(m *testing.M) { dcplanetest.Main(m) }

const patience = 30 * time.Second

// outage is a way in which a control plane is lost.
type outage int

const (
	cutOff    outage = iota // connections break and new ones are refused
	cableCut                // connections stay open and nothing passes
	killed                  // the server is killed as by kill -9 and started again on its data
	suspended               // the server's process stands still
)

// testPlane is a part of a server, behind a proxy.
type testPlane struct {
	server  *etcdtest.Server
	proxy   *dcplanetest.Proxy
	prefix  string
	outage  outage
	watches muffler
}

var prefixes atomic.Int64

// newPlane is a fresh part of a server. A server that is killed or suspended should be the plane's own.
func newPlane(t *testing.T, server *etcdtest.Server, o outage) *testPlane {
	t.Helper()
	p := &testPlane{server: server, proxy: dcplanetest.NewProxy(t), prefix: "/t" + strconv.FormatInt(prefixes.Add(1), 10) + "/", outage: o}
	p.proxy.Connect(server.Addr())
	t.Cleanup(func() {
		if p.server.Frozen() {
			p.server.Thaw(t)
		}
	})
	return p
}

func (p *testPlane) config(timing dcplanetest.Timing) Config {
	return Config{
		Endpoints: []string{p.proxy.Addr()}, Prefix: p.prefix, Logger: slog.New(slog.DiscardHandler),
		Lease: timing.Lease, RefreshEvery: timing.RefreshEvery, MaxCacheStaleness: timing.MaxCacheStaleness,
		DialOptions: []grpc.DialOption{grpc.WithChainStreamInterceptor(p.watches.intercept)},
	}
}

func (p *testPlane) Open(t *testing.T, timing dcplanetest.Timing) dcplane.Directory {
	t.Helper()
	return openAndClose(t, p.config(timing))
}

// openAndClose opens a directory that is closed with the test.
func openAndClose(t *testing.T, cfg Config) dcplane.Directory {
	t.Helper()
	d, err := Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close(context.Background()) }) // fails where the test left the plane stopped
	return d
}

func (p *testPlane) Stop(t *testing.T) {
	t.Helper()
	switch p.outage {
	case cutOff:
		p.proxy.Cut()
	case cableCut:
		p.proxy.Freeze(true)
	case killed:
		p.server.Kill(t)
	case suspended:
		p.server.Freeze(t)
	}
}

func (p *testPlane) Start(t *testing.T, empty bool) {
	t.Helper()
	if empty {
		p.startEmpty(t)
		return
	}
	switch p.outage {
	case cutOff:
		p.proxy.Connect(p.server.Addr())
	case cableCut:
		p.proxy.Freeze(false)
	case killed:
		p.server.Restart(t, false)
	case suspended:
		p.server.Thaw(t)
	}
}

// startEmpty lets a server that knows nothing take the place of the one before.
func (p *testPlane) startEmpty(t *testing.T) {
	t.Helper()
	switch p.outage {
	case cutOff, cableCut:
		p.server = etcdtest.Start(t, etcdtest.Options{}) // the other one is everybody's
		p.proxy.Cut()
		p.proxy.Freeze(false)
		p.proxy.Connect(p.server.Addr())
	case killed, suspended:
		p.server.Kill(t)
		p.server.Restart(t, true)
	}
}

func (p *testPlane) Crash(_ *testing.T, d dcplane.Directory) { d.(*engine.Directory).Abandon() }

func (p *testPlane) DropWatches(t *testing.T) {
	t.Helper()
	require.NotZero(t, p.watches.muffle())
}

// admin is a client past the proxy.
func (p *testPlane) admin(t *testing.T) *clientv3.Client {
	t.Helper()
	return adminOf(t, clientv3.Config{Endpoints: []string{p.server.Addr()}})
}

func adminOf(t *testing.T, cfg clientv3.Config) *clientv3.Client {
	t.Helper()
	cfg.Logger = zap.NewNop()
	client, err := clientv3.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// muffler silences watch streams without breaking them, as a server's bug would.
type muffler struct {
	mu      sync.Mutex
	streams []*muffled
}

func (m *muffler) intercept(
	ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	stream, err := next(ctx, desc, cc, method, opts...)
	if err != nil || method != "/etcdserverpb.Watch/Watch" {
		return stream, err
	}
	s := &muffled{ClientStream: stream}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.streams = append(m.streams, s)
	return s, nil
}

// muffle silences the streams opened so far and returns how many there are.
func (m *muffler) muffle() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.streams {
		s.silent.Store(true)
	}
	return len(m.streams)
}

type muffled struct {
	grpc.ClientStream
	silent atomic.Bool
}

func (s *muffled) RecvMsg(m any) error {
	for {
		if err := s.ClientStream.RecvMsg(m); err != nil || !s.silent.Load() {
			return err
		}
	}
}

func sample() dcplane.Node {
	return dcplane.Node{
		Service: "rooms", DC: "dc-a", Region: "eu", Name: "rooms-1", Incarnation: "7f", Host: "10.0.0.1", RemotingPort: 4001,
		State: dcplane.StateReady, Load: 0.25, Version: "v1.2.3",
	}
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

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
			require.FailNow(t, "never happened", "nodes: %v, problem: %v", d.Nodes("dc-a", "rooms"), d.Problem())
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
