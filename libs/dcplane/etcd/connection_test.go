package etcd

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/dcplanetest"
	"github.com/parley-rt/parley/libs/dcplane/etcd/etcdtest"
)

// unready runs Connect until a deadline and returns its error.
func unready(t *testing.T, cfg Config) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
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
	for _, user := range []string{"", "u"} {
		password := strings.Repeat("secret", len(user))
		err = unready(t, Config{Endpoints: []string{free.Addr().String()}, Username: user, Password: password})
		require.ErrorContains(t, err, "connect: connection refused")
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestConnectSaysWhyNotTrusted(t *testing.T) {
	t.Parallel()
	ours, theirs := etcdtest.NewAuthority(t), etcdtest.NewAuthority(t)
	server := etcdtest.Start(t, ours.Secure(t))
	endpoints := []string{server.Addr()}

	err := unready(t, Config{Endpoints: endpoints, TLS: theirs.Client(t, "node")})
	require.ErrorContains(t, err, "certificate signed by unknown authority")
	withoutCertificate := ours.Client(t, "node")
	withoutCertificate.Certificates = nil
	_ = unready(t, Config{Endpoints: endpoints, TLS: withoutCertificate}) // the server hangs up, often without a word
	_ = unready(t, Config{Endpoints: endpoints})

	_, port, err := net.SplitHostPort(server.Addr())
	require.NoError(t, err)
	err = unready(t, Config{Endpoints: []string{"localhost:" + port}, TLS: ours.Client(t, "node")})
	require.ErrorContains(t, err, "certificate is not valid for any names, but wanted to match localhost")

	d, err := Connect(within(t), Config{Endpoints: endpoints, TLS: ours.Client(t, "node")})
	require.NoError(t, err)
	require.NoError(t, d.Close(within(t)))
}

// withUser turns authentication on. The user parley may do with /parley/ what it likes, and nothing else.
func withUser(t *testing.T, server *etcdtest.Server) {
	t.Helper()
	admin := adminOf(t, clientv3.Config{Endpoints: []string{server.Addr()}})
	ctx := within(t)
	for _, user := range []string{"root", "parley", "stranger"} {
		_, err := admin.UserAdd(ctx, user, user+" right")
		require.NoError(t, err)
	}
	for _, role := range []string{"root", "parley"} {
		if role != "root" {
			_, err := admin.RoleAdd(ctx, role)
			require.NoError(t, err)
		}
		_, err := admin.UserGrantRole(ctx, role, role)
		require.NoError(t, err)
	}
	_, err := admin.RoleGrantPermission(ctx, "parley", DefaultPrefix, clientv3.GetPrefixRangeEnd(DefaultPrefix), clientv3.PermissionType(clientv3.PermReadWrite))
	require.NoError(t, err)
	_, err = admin.AuthEnable(ctx)
	require.NoError(t, err)
}

// TestAuthentication: with a password and the least rights everything works, also for longer than a token lives.
func TestAuthentication(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t, etcdtest.Options{Flags: []string{"--auth-token-ttl", "2"}})
	withUser(t, server)
	cfg := Config{
		Endpoints: []string{server.Addr()}, Username: "parley", Password: "parley right",
		Lease: 2 * time.Second, RefreshEvery: 2 * time.Second, MaxCacheStaleness: time.Minute,
	}
	writer, reader := openAndClose(t, cfg), openAndClose(t, cfg)
	n := sample()
	r, err := writer.Register(within(t), n)
	require.NoError(t, err)
	awaitNode(t, reader, n)
	root := adminOf(t, clientv3.Config{Endpoints: []string{server.Addr()}, Username: "root", Password: "root right"})
	began, refreshes, last := time.Now(), 0, reader.LastRefresh()
	for time.Since(began) < 7*time.Second {
		n.Load++
		if int(n.Load)%100 == 0 { // makes every token old
			_, err := root.UserChangePassword(within(t), "stranger", fmt.Sprint("secret", n.Load))
			require.NoError(t, err)
		}
		require.NoError(t, r.Update(within(t), n.State, n.Load))
		await(t, reader, func() bool {
			got, ok := reader.Lookup(n.DC, n.Service, n.Name)
			require.True(t, ok, "removed although it lives")
			return got == n
		})
		if refreshed := reader.LastRefresh(); refreshed.After(last) {
			last, refreshes = refreshed, refreshes+1
		}
	}
	require.Greater(t, refreshes, 1)
	require.NoError(t, r.Deregister(within(t)))
	await(t, reader, func() bool { return len(reader.Nodes(n.DC, n.Service)) == 0 })
}

func TestConnectSaysWhyNotAllowed(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t, etcdtest.Options{})
	withUser(t, server)
	for _, c := range []struct{ user, password, want string }{
		{"parley", "secret wrong", "authentication failed, invalid user ID or password"},
		{"nobody", "secret wrong", "authentication failed, invalid user ID or password"},
		{"stranger", "stranger right", "permission denied"},
		{"", "", "user name is empty"},
	} {
		t.Run(c.user, func(t *testing.T) {
			t.Parallel()
			log := &lockedBuffer{}
			err := unready(t, Config{
				Endpoints: []string{server.Addr()}, Username: c.user, Password: c.password, Logger: slog.New(slog.NewTextHandler(log, nil)),
			})
			require.ErrorContains(t, err, c.want)
			require.Contains(t, log.String(), c.want)
			require.NotContains(t, err.Error()+log.String(), "secret")
		})
	}
}

// TestPasswordOnServerWithoutAuthentication: it is not needed, and harms nobody.
func TestPasswordOnServerWithoutAuthentication(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t, etcdtest.Options{})
	d, err := Connect(within(t), Config{Endpoints: []string{server.Addr()}, Username: "u", Password: "p"})
	require.NoError(t, err)
	require.NoError(t, d.Close(within(t)))
}

// TestClusterMembersComeAndGo: of three members one at a time is lost, in each way, and nobody notices; without a majority
// the directory says so and removes nobody.
func TestClusterMembersComeAndGo(t *testing.T) {
	t.Parallel()
	members := etcdtest.Cluster(t, 3, etcdtest.Options{})
	cfg := Config{Prefix: "/cluster/"}
	for _, m := range members {
		cfg.Endpoints = append(cfg.Endpoints, m.Addr())
	}
	cfg.MaxCacheStaleness = 8 * time.Second
	writer, reader := openAndClose(t, cfg), openAndClose(t, cfg)
	n := sample()
	r, err := writer.Register(within(t), n)
	require.NoError(t, err)
	awaitNode(t, reader, n)
	changes := func() { // the control plane works, and it is this one
		n.Load++
		require.NoError(t, dcplanetest.Eventually(within(t), func(ctx context.Context) error { return r.Update(ctx, n.State, n.Load) }))
		await(t, reader, func() bool {
			got, ok := reader.Lookup(n.DC, n.Service, n.Name)
			require.True(t, ok, "removed although it lives")
			return got == n
		})
	}
	for _, m := range members {
		m.Kill(t)
		changes()
		m.Restart(t, false)
		m.Freeze(t)
		changes()
		m.Thaw(t)
	}
	members[0].Kill(t)
	members[1].Freeze(t)
	await(t, reader, func() bool { return !reader.Ready() })
	require.ErrorIs(t, reader.Problem(), dcplane.ErrUnavailable)
	_, ok := reader.Lookup(n.DC, n.Service, n.Name)
	require.True(t, ok)
	members[1].Thaw(t)
	changes()
	require.NoError(t, dcplane.AwaitReady(within(t), reader))
}

// TestCompaction: history that is thrown away costs a watch that needs it a refresh, and others nothing.
func TestCompaction(t *testing.T) {
	t.Parallel()
	p := newPlane(t, etcdtest.Start(t, etcdtest.Options{}), cutOff)
	writer, reader := p.Open(t, long), p.Open(t, long)
	n := sample()
	r, err := writer.Register(within(t), n)
	require.NoError(t, err)
	awaitNode(t, reader, n)
	for range 20 {
		n.Load++
		require.NoError(t, r.Update(within(t), n.State, n.Load))
		_, err := p.admin(t).Compact(within(t), get(t, p.admin(t), keyOf(p, n)).Header.Revision, clientv3.WithCompactPhysical())
		require.NoError(t, err)
		awaitNode(t, reader, n)
	}
	s, err := newStore(p.config(long).withDefaults())
	require.NoError(t, err)
	defer s.Close()
	late, err := s.watch(within(t), 2)
	require.NoError(t, err, "the server makes it first")
	select {
	case <-late.Done():
		require.ErrorIs(t, late.reason(), rpctypes.ErrCompacted)
	case <-within(t).Done():
		require.FailNow(t, "never ended")
	}
	late.Stop()
	listing, w, err := s.Sync(within(t))
	require.NoError(t, err)
	require.Len(t, listing.Observations, 1)
	w.Stop()
}

// TestWatchEndedByServer: a watch that the server gives up is made again.
func TestWatchEndedByServer(t *testing.T) {
	t.Parallel()
	p := newPlane(t, etcdtest.Start(t, etcdtest.Options{}), cutOff)
	d := p.Open(t, long)
	require.NoError(t, dcplane.AwaitReady(within(t), d))
	refreshed := d.LastRefresh()
	n := sample()
	r, err := d.Register(within(t), n)
	require.NoError(t, err)
	awaitNode(t, d, n)
	p.proxy.Cut() // breaks the stream
	p.proxy.Connect(p.server.Addr())
	for !d.LastRefresh().After(refreshed) {
		n.Load++
		require.NoError(t, r.Update(within(t), n.State, n.Load))
		awaitNode(t, d, n)
	}
}
