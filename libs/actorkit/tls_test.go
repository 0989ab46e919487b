package actorkit_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tochemey/goakt/v4/actor"
	"github.com/tochemey/goakt/v4/remote"
	gtls "github.com/tochemey/goakt/v4/tls"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
)

func TestTLSFilesNameEveryProblem(t *testing.T) {
	t.Parallel()
	ca, other := actorkittest.NewCA(t), actorkittest.NewCA(t)
	own := []string{"127.0.0.1"}
	good := ca.Issue(own)
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	with := func(files actorkit.TLSFiles, edit func(*actorkit.TLSFiles)) actorkit.TLSFiles {
		edit(&files)
		return files
	}
	for name, c := range map[string]struct {
		files actorkit.TLSFiles
		want  []string
	}{
		"good": {files: good},
		"half": {with(good, func(f *actorkit.TLSFiles) { f.Key, f.CA = "", "" }),
			[]string{"set only in part: set PARLEY_CLUSTER_TLS_KEY and PARLEY_CLUSTER_TLS_CA as well, or none of the three"}},
		"missing and empty": {with(good, func(f *actorkit.TLSFiles) { f.Cert, f.CA = filepath.Join(dir, "none"), empty }),
			[]string{"PARLEY_CLUSTER_TLS_CERT and PARLEY_CLUSTER_TLS_KEY: open ", "PARLEY_CLUSTER_TLS_CA: " + empty + " has no certificate"}},
		"another's key": {with(good, func(f *actorkit.TLSFiles) { f.Key = ca.Issue(own).Key }),
			[]string{"private key does not match public key"}},
		"another CA":  {with(good, func(f *actorkit.TLSFiles) { f.CA = other.Issue(own).CA }), []string{"have it signed by the CA in PARLEY_CLUSTER_TLS_CA"}},
		"a name only": {files: ca.Issue([]string{"node"})},
		"a server only": {ca.Issue(own, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }),
			[]string{"the certificate is not good for client authentication"}},
		"everything": {ca.Issue([]string{"node"}, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} }),
			[]string{"not good for server authentication", "not good for client authentication"}},
		"expired": {ca.Issue(own, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), []string{"renew it"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config, err := c.files.Load()
			if c.want == nil {
				require.NoError(t, err)
				require.Equal(t, tls.RequireAnyClientCert, config.ClientAuth)
				require.NotNil(t, config.VerifyConnection, "which judges it")
				return
			}
			require.Nil(t, config)
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
			require.Equal(t, len(c.want), strings.Count(err.Error(), "\n")+1, "%v", err)
		})
	}
}

// startTLS starts a node with a certificate of ca.
func startTLS(t *testing.T, ca *actorkittest.CA, name, host string, h actorkit.Handler, edit ...func(*actorkit.NodeConfig)) *actorkit.Node {
	t.Helper()
	config, err := ca.Issue([]string{host}).Load()
	require.NoError(t, err)
	return actorkittest.StartNode(t, name, h, append(edit, func(c *actorkit.NodeConfig) { c.Host, c.TLS = host, config })...)
}

// Nodes with certificates of one CA form a cluster and talk; the gossip, the registry and the Links are all inside TLS.
func TestNodesTalkOverTLS(t *testing.T) {
	t.Parallel()
	ca := actorkittest.NewCA(t)
	port := samePort(t)
	var seeds []string
	for _, host := range hosts {
		seeds = append(seeds, net.JoinHostPort(host, strconv.Itoa(port)))
	}
	var nodes []*actorkit.Node
	var recorders []*actorkittest.Recorder
	var log safeBuffer
	for i, host := range hosts {
		r := new(actorkittest.Recorder)
		recorders = append(recorders, r)
		nodes = append(nodes, startTLS(t, ca, "tls"+strconv.Itoa(i), host, r, func(c *actorkit.NodeConfig) {
			c.System, c.DiscoveryPort, c.Seeds, c.Logger = "tls", port, seeds, slog.New(slog.NewTextHandler(&log, nil))
		}))
	}
	actorkittest.WaitMembers(t, nodes...)
	actorkittest.Mesh(t, nodes...)
	require.NoError(t, nodes[0].Send("tls1", numbered(1)))
	require.Eventually(t, func() bool { return len(recorders[1].Frames()) == 1 }, waitFor, time.Millisecond)
	require.NotContains(t, log.String(), "gossip over TLS", "nodes that ask whether others are there leave no complaint")
}

// safeBuffer is written by several goroutines.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// With TLS on, no port of a node serves a plain connection, one without a certificate, or one with another CA's.
func TestTLSRefusesStrangers(t *testing.T) {
	t.Parallel()
	ca, other := actorkittest.NewCA(t), actorkittest.NewCA(t)
	var addrs []string
	n := startTLS(t, ca, "guarded", "127.0.0.1", new(actorkittest.Recorder), func(c *actorkit.NodeConfig) {
		for _, port := range []*int{&c.RemotingPort, &c.DiscoveryPort, &c.PeersPort} {
			var err error
			*port, err = actorkit.FreePort("127.0.0.1")
			require.NoError(t, err)
			addrs = append(addrs, net.JoinHostPort("127.0.0.1", strconv.Itoa(*port)))
		}
	})
	ours, err := ca.Issue([]string{"127.0.0.1"}).Load()
	require.NoError(t, err)
	theirs, err := other.Issue([]string{"127.0.0.1"}).Load()
	require.NoError(t, err)
	theirs.VerifyConnection = nil // They trust us; we do not trust them.
	nobody := theirs.Clone()
	nobody.GetClientCertificate = nil
	for _, addr := range addrs {
		require.NoError(t, handshake(t, addr, ours), addr)
		require.Error(t, handshake(t, addr, theirs), "another CA's certificate at %s", addr)
		require.Error(t, handshake(t, addr, nobody), "no certificate at %s", addr)
		require.ErrorIs(t, plain(t, addr), errCut, "plain bytes at %s", addr)
	}

	// A system of GoAkt's own, plain or with another certificate, does not find the door.
	for name, info := range map[string]*gtls.Info{"plain": nil, "another CA": {ClientConfig: theirs, ServerConfig: theirs}} {
		stranger := startStranger(t, info)
		_, err := stranger.NoSender().RemoteLookup(t.Context(), n.Self().Host, n.Self().RemotingPort, "GoAktUserGuardian/door-guarded")
		require.Error(t, err, name)
	}
	member := startStranger(t, &gtls.Info{ClientConfig: ours, ServerConfig: ours})
	_, err = member.NoSender().RemoteLookup(t.Context(), n.Self().Host, n.Self().RemotingPort, "GoAktUserGuardian/door-guarded")
	require.NoError(t, err)
}

// A node whose certificate is of another CA, or that has none, is neither let into the cluster nor linked to.
func TestTLSKeepsOtherNodesOut(t *testing.T) {
	t.Parallel()
	ca, other := actorkittest.NewCA(t), actorkittest.NewCA(t)
	inside := startTLS(t, ca, "inside", hosts[0], new(actorkittest.Recorder), func(c *actorkit.NodeConfig) { c.System = "kept" })
	seed := func(c *actorkit.NodeConfig) { c.System, c.Seeds = "kept", []string{inside.DiscoveryAddr()} }
	outsiders := []*actorkit.Node{
		startTLS(t, other, "forged", hosts[1], new(actorkittest.Recorder), seed),
		actorkittest.StartNode(t, "plain", new(actorkittest.Recorder), seed, func(c *actorkit.NodeConfig) { c.Host = hosts[2] }),
	}
	for _, outside := range outsiders {
		outside.SetPeers([]actorkit.Peer{inside.Self()})
		name := outside.Self().Node
		require.Eventually(t, func() bool {
			s, ok := outside.Link("inside")
			return ok && !s.Up && s.Err != nil
		}, waitFor, time.Millisecond, name)
		inside.SetPeers([]actorkit.Peer{outside.Self()})
		require.Eventually(t, func() bool {
			s, ok := inside.Link(name)
			return ok && !s.Up && s.Err != nil
		}, waitFor, time.Millisecond, name)
		actorkittest.WaitMembers(t, outside)
	}
	actorkittest.WaitMembers(t, inside)
}

// A certificate that is renewed is used without a restart, by both ends; half a renewal changes nothing.
func TestTLSCertificatesAreReadAgain(t *testing.T) {
	t.Parallel()
	ca := actorkittest.NewCA(t)
	files := ca.Issue([]string{"127.0.0.1"})
	config, err := files.Load()
	require.NoError(t, err)
	serials := func() (server, client string) {
		s, err := config.GetCertificate(nil)
		require.NoError(t, err)
		c, err := config.GetClientCertificate(nil)
		require.NoError(t, err)
		return s.Leaf.SerialNumber.String(), c.Leaf.SerialNumber.String()
	}
	first, same := serials()
	require.Equal(t, first, same)

	half := ca.Issue([]string{"127.0.0.1"})
	key, err := os.ReadFile(half.Key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(files.Key, key, 0o600))
	unchanged := time.After(1500 * time.Millisecond)
	for done := false; !done; {
		server, client := serials()
		require.Equal(t, first, server)
		require.Equal(t, first, client)
		select {
		case <-unchanged:
			done = true
		case <-time.After(50 * time.Millisecond):
		}
	}
	ca.IssueTo(files, []string{"127.0.0.1"})
	require.Eventually(t, func() bool {
		server, client := serials()
		return server != first && client == server
	}, waitFor, 20*time.Millisecond)
}

// An authority is replaced without a restart, in the order of the handbook: both are known, then certificates are the new one's,
// then the old one is forgotten. Whoever has only the old one's certificate is kept out from then on, resumed connections included.
func TestTLSAuthorityIsReplaced(t *testing.T) {
	t.Parallel()
	old, next := actorkittest.NewCA(t), actorkittest.NewCA(t)
	own := []string{"127.0.0.1"}
	files := old.Issue(own)
	text := func(path string) []byte {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		return b
	}
	files.CA = filepath.Join(t.TempDir(), "ca.pem")
	oldCA, nextCA := text(old.Issue(own).CA), text(next.Issue(own).CA)
	put := func(b []byte) {
		require.NoError(t, os.WriteFile(files.CA+".new", b, 0o600))
		require.NoError(t, os.Rename(files.CA+".new", files.CA))
	}
	put(oldCA)
	config, err := files.Load()
	require.NoError(t, err)
	port, err := actorkit.FreePort("127.0.0.1")
	require.NoError(t, err)
	n := actorkittest.StartNode(t, "keeps", new(actorkittest.Recorder), func(c *actorkit.NodeConfig) {
		c.Host, c.RemotingPort, c.TLS = "127.0.0.1", port, config
	})
	addr := net.JoinHostPort(n.Self().Host, strconv.Itoa(n.Self().RemotingPort))
	client := func(ca *actorkittest.CA) *tls.Config {
		c, err := ca.Issue(own).Load()
		require.NoError(t, err)
		c.VerifyConnection = nil // it is the node that judges
		c.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		return c
	}
	withOld, withNext := client(old), client(next)
	eventually := func(ok bool, c *tls.Config, what string) {
		t.Helper()
		require.Eventually(t, func() bool { return (handshake(t, addr, c) == nil) == ok }, waitFor, 20*time.Millisecond, what)
	}
	require.NoError(t, handshake(t, addr, withOld))
	require.Error(t, handshake(t, addr, withNext))

	put(append(append([]byte(nil), oldCA...), nextCA...))
	eventually(true, withNext, "both are known")
	require.NoError(t, handshake(t, addr, withOld))

	put(nil)
	require.Never(t, func() bool { return handshake(t, addr, withNext) != nil || handshake(t, addr, withOld) != nil },
		1500*time.Millisecond, 100*time.Millisecond, "a file that cannot be used changes nothing")

	next.IssueTo(files, own)
	put(nextCA)
	eventually(false, withOld, "the old one is forgotten")
	require.NoError(t, handshake(t, addr, withNext))
	_, err = files.Load()
	require.NoError(t, err)
}

// handshake connects and waits until the server has judged the certificate, which TLS 1.3 tells only afterwards.
func handshake(t *testing.T, addr string, config *tls.Config) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitFor)
	defer cancel()
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(500*time.Millisecond)))
	_, err = conn.Read(make([]byte, 1))
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return nil // It is we who should speak now.
	}
	return err
}

var errCut = errors.New("cut without a word")

// plain sends what a plain node could and returns errCut when the answer is the end, or an alert of TLS.
func plain(t *testing.T, addr string) error {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = conn.Write([]byte("*1\r\n$4\r\nPING\r\n"))
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(waitFor)))
	got, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset by peer") {
		return err
	}
	if len(got) == 0 || got[0] == 21 {
		return errCut
	}
	return errors.New("answered " + string(got))
}

// startStranger starts an actor system that is no node.
func startStranger(t *testing.T, info *gtls.Info) actor.ActorSystem {
	t.Helper()
	port, err := actorkit.FreePort("127.0.0.1")
	require.NoError(t, err)
	options := []actor.Option{actor.WithRemote(remote.NewConfig("127.0.0.1", port)), actor.WithLoggingDisabled()}
	if info != nil {
		options = append(options, actor.WithTLS(info))
	}
	sys, err := actor.NewActorSystem("stranger", options...)
	require.NoError(t, err)
	require.NoError(t, actorkit.StartAlone(func() error { return sys.Start(context.Background()) }))
	t.Cleanup(func() { _ = sys.Stop(context.Background()) })
	return sys
}
