package open_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/etcd/etcdtest"
	"github.com/parley-rt/parley/libs/dcplane/open"
)

// startNATS starts a server with JetStream and returns its host:port.
func startNATS(t *testing.T, o *server.Options) string {
	t.Helper()
	o.Host, o.Port, o.NoSigs, o.NoLog, o.JetStream, o.StoreDir = "127.0.0.1", server.RANDOM_PORT, true, true, true, t.TempDir()
	s, err := server.NewServer(o)
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	require.True(t, s.ReadyForConnections(patience))
	return s.Addr().String()
}

// requireWorks registers a node through one directory and sees it through another, also after a refresh.
func requireWorks(t *testing.T, address string) {
	t.Helper()
	log := &lockedBuffer{}
	writer, reader := openURL(t, address, log), openURL(t, address, log)
	r, err := writer.Register(within(t), sample())
	require.NoError(t, err, log)
	await(t, reader, func() bool { return len(reader.Nodes("dc-a", "rooms")) == 1 })
	require.NoError(t, r.Update(within(t), dcplane.StateDraining, 1))
	await(t, reader, func() bool {
		n, _ := reader.Lookup("dc-a", "rooms", "rooms-1")
		return n.State == dcplane.StateDraining
	})
	require.NoError(t, r.Deregister(within(t)))
	await(t, reader, func() bool { return len(reader.Nodes("dc-a", "rooms")) == 0 })
	require.NoError(t, reader.Close(within(t)))
	require.NoError(t, writer.Close(within(t)))
	require.NotContains(t, log.String(), "secret")
}

func await(t *testing.T, d dcplane.Directory, ok func() bool) {
	t.Helper()
	for {
		changed := d.Changed()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-within(t).Done():
			require.FailNow(t, "never happened", "%v", d.Problem())
		}
	}
}

func query(pairs ...string) string {
	values := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	return "?" + values.Encode()
}

// natsRights are those that the documentation asks an operator to give. $JS.FC is for answers that come in many parts.
var natsRights = &server.Permissions{
	Publish: &server.SubjectPermission{Allow: []string{
		"$KV.parley_nodes.>", "$JS.API.INFO", "$JS.API.STREAM.*.KV_parley_nodes",
		"$JS.API.CONSUMER.*.KV_parley_nodes.>", "$JS.API.DIRECT.GET.KV_parley_nodes.>", "$JS.FC.KV_parley_nodes.>",
	}},
	Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
}

func TestNATSOverTLSWithUserAndLeastRights(t *testing.T) {
	t.Parallel()
	authority := etcdtest.NewAuthority(t)
	pair, err := tls.LoadX509KeyPair(authority.Issue(t, "127.0.0.1"))
	require.NoError(t, err)
	roots := x509.NewCertPool()
	ca, err := os.ReadFile(authority.CA)
	require.NoError(t, err)
	require.True(t, roots.AppendCertsFromPEM(ca))
	addr := startNATS(t, &server.Options{
		TLS: true, TLSVerify: true,
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert,
		},
		Users: []*server.User{{Username: "us@r", Password: "sec:ret/secret", Permissions: natsRights}},
	})
	cert, key := authority.Issue(t, "node")
	requireWorks(t, "tls://us%40r:sec%3Aret%2Fsecret@"+addr+query("ca", authority.CA, "cert", cert, "key", key))

	servers, options, err := open.NATS("tls://us%40r:sec%3Aret%2Fsecret@" + addr + ",127.0.0.1:1" + query("ca", authority.CA, "cert", cert, "key", key))
	require.NoError(t, err)
	require.Equal(t, "tls://"+addr+",tls://127.0.0.1:1", servers)
	conn, err := natsio.Connect(servers, options...)
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	conn.Close()
	for _, other := range []string{"etcd://h", "nats://"} {
		_, _, err = open.NATS(other)
		require.ErrorIs(t, err, open.ErrInvalid)
	}

	stranger := etcdtest.NewAuthority(t)
	d := openURL(t, "tls://us%40r:sec%3Aret%2Fsecret@"+addr+query("ca", stranger.CA, "cert", cert, "key", key), &lockedBuffer{})
	requireProblem(t, d, "certificate signed by unknown authority")
}

// requireProblem waits until the directory gives the reason.
func requireProblem(t *testing.T, d dcplane.Directory, reason string) {
	t.Helper()
	require.Eventually(t, func() bool {
		problem := d.Problem()
		return problem != nil && strings.Contains(problem.Error(), reason)
	}, patience, patience/1000, "%s is not why: %v", reason, d.Problem())
}

func TestNATSWithToken(t *testing.T) {
	t.Parallel()
	addr := startNATS(t, &server.Options{Authorization: "to@ken-secret"})
	requireWorks(t, "nats://to%40ken-secret@"+addr)
	d := openURL(t, "nats://wrong-secret@"+addr, &lockedBuffer{})
	requireProblem(t, d, "Authorization Violation")
	require.NotContains(t, d.Problem().Error(), "secret")
}

func TestNATSWithNkey(t *testing.T) {
	t.Parallel()
	user, err := nkeys.CreateUser()
	require.NoError(t, err)
	public, err := user.PublicKey()
	require.NoError(t, err)
	seed, err := user.Seed()
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "user.nk")
	require.NoError(t, os.WriteFile(file, seed, 0o600))
	addr := startNATS(t, &server.Options{Nkeys: []*server.NkeyUser{{Nkey: public}}})
	requireWorks(t, "nats://"+addr+query("nkey", file))
}

func TestNATSWithCredentials(t *testing.T) {
	t.Parallel()
	pair := func(create func() (nkeys.KeyPair, error)) (nkeys.KeyPair, string) {
		key, err := create()
		require.NoError(t, err)
		public, err := key.PublicKey()
		require.NoError(t, err)
		return key, public
	}
	operator, operatorKey := pair(nkeys.CreateOperator)
	_, systemKey := pair(nkeys.CreateAccount)
	account, accountKey := pair(nkeys.CreateAccount)
	user, userKey := pair(nkeys.CreateUser)

	operatorClaims := jwt.NewOperatorClaims(operatorKey)
	_, err := operatorClaims.Encode(operator)
	require.NoError(t, err)
	resolver := &server.MemAccResolver{}
	for _, key := range []string{systemKey, accountKey} {
		claims := jwt.NewAccountClaims(key)
		if key == accountKey {
			claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
		}
		token, err := claims.Encode(operator)
		require.NoError(t, err)
		require.NoError(t, resolver.Store(key, token))
	}
	userToken, err := jwt.NewUserClaims(userKey).Encode(account)
	require.NoError(t, err)
	seed, err := user.Seed()
	require.NoError(t, err)
	credentials, err := jwt.FormatUserConfig(userToken, seed)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "user.creds")
	require.NoError(t, os.WriteFile(file, credentials, 0o600))

	addr := startNATS(t, &server.Options{
		TrustedOperators: []*jwt.OperatorClaims{operatorClaims}, AccountResolver: resolver, SystemAccount: systemKey,
	})
	requireWorks(t, "nats://"+addr+query("creds", file))
}

// withUser turns authentication on, with a user who may only do what the documentation asks for.
func withUser(t *testing.T, admin *clientv3.Client, user, password string) {
	t.Helper()
	ctx := within(t)
	for _, name := range []string{"root", user} {
		_, err := admin.UserAdd(ctx, name, password)
		require.NoError(t, err)
	}
	_, err := admin.RoleAdd(ctx, "staging")
	require.NoError(t, err)
	_, err = admin.RoleGrantPermission(ctx, "staging", "/staging/", clientv3.GetPrefixRangeEnd("/staging/"), clientv3.PermissionType(clientv3.PermReadWrite))
	require.NoError(t, err)
	_, err = admin.UserGrantRole(ctx, user, "staging")
	require.NoError(t, err)
	_, err = admin.UserGrantRole(ctx, "root", "root")
	require.NoError(t, err)
	_, err = admin.AuthEnable(ctx)
	require.NoError(t, err)
}

func TestEtcdOverTLSWithUserAndLeastRights(t *testing.T) {
	t.Parallel()
	authority := etcdtest.NewAuthority(t)
	server := etcdtest.Start(t, authority.Secure(t))
	admin, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"https://" + server.Addr()}, TLS: authority.Client(t, "root"), Logger: zap.NewNop(),
	})
	require.NoError(t, err)
	defer admin.Close()
	withUser(t, admin, "us@r", "sec:ret/secret")

	cert, key := authority.Issue(t, "us@r")
	access := query("ca", authority.CA, "cert", cert, "key", key)
	requireWorks(t, "etcds://us%40r:sec%3Aret%2Fsecret@"+server.Addr()+",127.0.0.1:1/staging"+access)
	requireWorks(t, "etcds://"+server.Addr()+"/staging"+access) // the certificate's name is the user's
	d := openURL(t, "etcds://us%40r:sec%3Aret%2Fsecret@"+server.Addr()+access, &lockedBuffer{})
	requireProblem(t, d, "permission denied")
	d = openURL(t, "etcds://us%40r:wrong-secret@"+server.Addr()+"/staging"+access, &lockedBuffer{})
	requireProblem(t, d, "authentication failed, invalid user ID or password")
	require.NotContains(t, d.Problem().Error(), "secret")
}

// TestCertificateIsRenewed: a certificate that was replaced on disk is used without a restart.
func TestCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	authority := etcdtest.NewAuthority(t)
	server := etcdtest.Start(t, authority.Secure(t))
	cert, key := etcdtest.NewAuthority(t).Issue(t, "node")
	d := openURL(t, "etcds://"+server.Addr()+query("ca", authority.CA, "cert", cert, "key", key), &lockedBuffer{})
	requireProblem(t, d, "etcd: ") // refused, in whatever words
	trusted, trustedKey := authority.Issue(t, "node")
	require.NoError(t, os.Rename(trustedKey, key))
	require.NoError(t, os.Rename(trusted, cert))
	require.NoError(t, dcplane.AwaitReady(within(t), d))
}

// TestEtcdComesLater: a process may start before its control plane.
func TestEtcdComesLater(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t, etcdtest.Options{})
	server.Kill(t)
	d := openURL(t, "etcd://user:secret@"+server.Addr(), &lockedBuffer{})
	requireProblem(t, d, "connection refused")
	require.NotContains(t, d.Problem().Error(), "secret")
	registered := make(chan error, 1)
	go func() {
		_, err := d.Register(within(t), sample())
		registered <- err
	}()
	server.Restart(t, true)
	require.NoError(t, <-registered)
	require.NoError(t, dcplane.AwaitReady(within(t), d))
}
