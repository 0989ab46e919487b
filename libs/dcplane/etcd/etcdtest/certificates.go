package etcdtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Authority signs certificates for one test. Its files end with the test.
type Authority struct {
	// CA is the path of its own certificate.
	CA string

	dir    string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial int64
}

// NewAuthority makes an authority.
func NewAuthority(t *testing.T) *Authority {
	t.Helper()
	a := &Authority{dir: t.TempDir()}
	a.cert, a.key = a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	a.CA = a.write(t, "ca.pem", "CERTIFICATE", a.cert.Raw)
	return a
}

// Issue writes a certificate for name, which is an IP address, a host name or a client's name, and its key.
func (a *Authority) Issue(t *testing.T, name string) (cert, key string) {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	issued, private := a.sign(t, template)
	der, err := x509.MarshalECPrivateKey(private)
	require.NoError(t, err)
	return a.write(t, name+".pem", "CERTIFICATE", issued.Raw), a.write(t, name+".key", "EC PRIVATE KEY", der)
}

// Client is how a client with a certificate of its own reaches a server whose certificate is the authority's.
func (a *Authority) Client(t *testing.T, name string) *tls.Config {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	pair, err := tls.LoadX509KeyPair(a.Issue(t, name))
	require.NoError(t, err)
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{pair}}
}

// Secure are the options of a server at 127.0.0.1 that talks TLS only, and only to clients with a certificate.
func (a *Authority) Secure(t *testing.T) Options {
	t.Helper()
	cert, key := a.Issue(t, "127.0.0.1")
	return Options{
		Flags: []string{"--cert-file", cert, "--key-file", key, "--client-cert-auth", "--trusted-ca-file", a.CA},
		TLS:   a.Client(t, "health"),
	}
}

// sign makes a certificate of the template with a key of its own; without an authority's certificate it signs itself.
func (a *Authority) sign(t *testing.T, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	a.serial++
	template.SerialNumber = big.NewInt(a.serial)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert, key
}

func (a *Authority) write(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(a.dir, name)
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return path
}
