package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-rt/parley/libs/opskit/certs/certstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type bundle struct {
	t    *testing.T
	ca   *certstest.CA
	dir  string
	logs bytes.Buffer
	pair *Pair
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{t: t, ca: certstest.NewCA(t), dir: t.TempDir()}
	b.write(b.ca.Issue(10))
	var err error
	b.pair, err = Load(b.files(), Deps{Logger: slog.New(slog.NewTextHandler(&b.logs, nil))})
	require.NoError(t, err)
	return b
}

func (b *bundle) files() Files {
	return Files{filepath.Join(b.dir, "tls.crt"), filepath.Join(b.dir, "tls.key")}
}

// put replaces a file by renaming another over it.
func (b *bundle) put(path string, text []byte) {
	b.t.Helper()
	require.NoError(b.t, os.WriteFile(path+".new", text, 0o600))
	require.NoError(b.t, os.Rename(path+".new", path))
}

func (b *bundle) write(cert, key []byte) {
	b.t.Helper()
	b.put(b.files().Cert, cert)
	b.put(b.files().Key, key)
}

func (b *bundle) serial() int64 { return b.pair.Leaf().SerialNumber.Int64() }

func (b *bundle) look() int64 {
	b.pair.look(b.t.Context())
	return b.serial()
}

func TestNewPairIsUsed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.Equal(t, int64(10), b.look())
	b.write(b.ca.Issue(11))
	require.Equal(t, int64(11), b.look())
	require.Contains(t, b.logs.String(), "certificate replaced")
}

// The same certificate with another chain to its authority, for when an intermediate one was renewed.
func TestNewChainIsUsed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cert, key := b.ca.Issue(11)
	for i := range 2 {
		intermediate := certstest.NewCA(t).PEM
		b.write(slices.Concat(cert, intermediate), key)
		b.look()
		block, _ := pem.Decode(intermediate)
		require.Equal(t, block.Bytes, b.pair.current.Load().Certificate[1], i)
	}
}

// One file after the other: in between nothing changes and nobody is alarmed.
func TestHalfAPair(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cert, key := b.ca.Issue(11)
	b.put(b.files().Key, key)
	require.Equal(t, int64(10), b.look())
	b.put(b.files().Cert, cert)
	require.Equal(t, int64(11), b.look())
	require.NotContains(t, b.logs.String(), "cannot be used")
}

func TestBrokenPairs(t *testing.T) {
	t.Parallel()
	for name, breakIt := range map[string]func(b *bundle){
		"not a certificate": func(b *bundle) { b.put(b.files().Cert, []byte("nonsense")) },
		"another's key": func(b *bundle) {
			_, key := b.ca.Issue(12)
			b.put(b.files().Key, key)
		},
		"empty": func(b *bundle) { b.put(b.files().Key, nil) },
		"gone":  func(b *bundle) { require.NoError(b.t, os.Remove(b.files().Cert)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			breakIt(b)
			require.Equal(t, int64(10), b.look())
			require.NotContains(t, b.logs.String(), "cannot be used", "it may be half of a change")
			require.Equal(t, int64(10), b.look())
			require.Equal(t, 1, bytes.Count(b.logs.Bytes(), []byte("cannot be used")))
			require.Equal(t, int64(10), b.look())
			require.Equal(t, 1, bytes.Count(b.logs.Bytes(), []byte("cannot be used")), "it is told once")
			require.NotContains(t, b.logs.String(), "PRIVATE KEY")
			b.write(b.ca.Issue(11))
			require.Equal(t, int64(11), b.look())
		})
	}
}

// The way Kubernetes changes a mounted secret: the files are links through ..data, a link that is moved.
func TestLinkIsMoved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := t.TempDir()
	version := func(name string, serial int64) {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		cert, key := b.ca.Issue(serial)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name, "tls.crt"), cert, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name, "tls.key"), key, 0o600))
		require.NoError(t, os.Symlink(name, filepath.Join(dir, "..new")))
		require.NoError(t, os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")))
	}
	version("..1", 20)
	for _, name := range []string{"tls.crt", "tls.key"} {
		require.NoError(t, os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)))
	}
	b.dir = dir
	var err error
	b.pair, err = Load(b.files(), Deps{})
	require.NoError(t, err)
	version("..2", 21)
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "..1")))
	require.Equal(t, int64(21), b.look())
}

func TestLoadNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := Load(Files{b.dir + "/none.crt", b.dir + "/none.key"}, Deps{})
	require.ErrorContains(t, err, "none.crt")
	require.ErrorContains(t, err, "none.key")
	_, err = Load(Files{b.files().Key, b.files().Cert}, Deps{})
	require.ErrorContains(t, err, "certificate and key")
}

func TestServerConfig(t *testing.T) {
	t.Parallel()
	b := setup(t)
	handshake := func(client *tls.Config) (tls.ConnectionState, error) {
		ours, theirs := net.Pipe()
		defer func() { _, _ = ours.Close(), theirs.Close() }()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = tls.Server(ours, b.pair.ServerConfig()).HandshakeContext(context.WithoutCancel(t.Context()))
			_ = ours.Close()
		}()
		client.RootCAs, client.ServerName = b.ca.Pool(), "localhost"
		c := tls.Client(theirs, client)
		err := c.HandshakeContext(t.Context())
		state := c.ConnectionState()
		_ = theirs.Close()
		<-done
		return state, err
	}
	state, err := handshake(&tls.Config{NextProtos: []string{"h2", "http/1.1"}})
	require.NoError(t, err)
	require.Equal(t, uint16(tls.VersionTLS13), state.Version)
	require.Equal(t, "http/1.1", state.NegotiatedProtocol)
	_, err = handshake(&tls.Config{MaxVersion: tls.VersionTLS12})
	require.NoError(t, err)
	_, err = handshake(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	require.Error(t, err)
	_, err = handshake(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}})
	require.Error(t, err)
	_, err = handshake(&tls.Config{NextProtos: []string{"h2"}})
	require.Error(t, err, "who speaks nothing else is told so")
}

// A client that comes back need not have it all proved again, also after the certificate was replaced: tickets are the configuration's.
func TestTicketsOutliveACertificate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	config := b.pair.ServerConfig()
	client := &tls.Config{RootCAs: b.ca.Pool(), ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(1), MinVersion: tls.VersionTLS13}
	for i, resumed := range []bool{false, true, true} {
		if i == 2 {
			b.write(b.ca.Issue(11))
			require.Equal(t, int64(11), b.look())
		}
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			c := tls.Server(ours, config)
			_, _ = c.Write([]byte("behind the ticket"))
		}()
		c := tls.Client(theirs, client)
		_, err := c.Read(make([]byte, 100))
		require.NoError(t, err)
		require.Equal(t, resumed, c.ConnectionState().DidResume, i)
		_ = theirs.Close()
		<-done
	}
}
