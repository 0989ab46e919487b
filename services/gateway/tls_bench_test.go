package gateway

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/opskit/certs"
	"github.com/parley-rt/parley/libs/opskit/certs/certstest"
	"github.com/parley-rt/parley/services/gateway/internal/ws"
)

// BenchmarkHandshake is what a handshake costs both ends together, with each kind of certificate, whole and resumed by a ticket. The client
// of a whole one checks the certificate as well.
func BenchmarkHandshake(b *testing.B) {
	for name, makeKey := range map[string]func() (crypto.Signer, error){
		"ecdsa":   func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
		"rsa2048": func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) },
	} {
		key, err := makeKey()
		require.NoError(b, err)
		pair, pool := benchPair(b, key)
		config := pair.ServerConfig()
		for _, resumed := range []bool{false, true} {
			kind := "/whole"
			client := &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS13}
			if resumed {
				kind, client.ClientSessionCache = "/resumed", tls.NewLRUClientSessionCache(1)
			}
			b.Run(name+kind, func(b *testing.B) {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				require.NoError(b, err)
				defer func() { _ = l.Close() }()
				l = tls.NewListener(ws.Listen(l), config)
				shake := func() {
					done := make(chan struct{})
					go func() {
						defer close(done)
						c, err := l.Accept()
						if err != nil {
							return
						}
						_, _ = c.Write([]byte("x"))
						_ = c.Close()
					}()
					nc, err := net.Dial("tcp", l.Addr().String())
					require.NoError(b, err)
					c := tls.Client(nc, client)
					require.NoError(b, c.HandshakeContext(context.Background()))
					_, err = c.Read(make([]byte, 1)) // with the ticket before it
					require.NoError(b, err)
					_ = c.Close()
					<-done
				}
				shake()
				for b.Loop() {
					shake()
				}
			})
		}
	}
}

func benchPair(b *testing.B, key crypto.Signer) (*certs.Pair, *x509.CertPool) {
	b.Helper()
	ca, dir := certstest.NewCA(b), b.TempDir()
	files := certs.Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	certText, keyText := ca.IssueFor(2, key)
	require.NoError(b, os.WriteFile(files.Cert, certText, 0o600))
	require.NoError(b, os.WriteFile(files.Key, keyText, 0o600))
	pair, err := certs.Load(files, certs.Deps{})
	require.NoError(b, err)
	return pair, ca.Pool()
}
