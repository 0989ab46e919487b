package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
)

// With PARLEY_CLUSTER_TLS_* set, messages cross as ever, and a node's ports serve nobody without a certificate of the CA.
func TestNodesSpeakMutualTLS(t *testing.T) {
	postgres, nats := harness.StartCluster(t), harness.NewNATS(t)
	harness.Migrate(t, postgres.URL())
	nats.Start()
	d := &harness.Deployment{JournalURL: postgres.URL(), ControlPlaneURL: nats.URL()}
	files := certificate(t)
	more := []string{"PARLEY_CLUSTER_TLS_CERT=" + files.cert, "PARLEY_CLUSTER_TLS_KEY=" + files.key, "PARLEY_CLUSTER_TLS_CA=" + files.ca}
	gateways, rooms := d.NewNodes(t, harness.Gateway, 1, more...), d.NewNodes(t, harness.Rooms, 2, more...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	nodes := append(append([]*harness.Node(nil), gateways...), rooms...)
	for _, n := range nodes {
		n.Start()
	}
	for _, n := range nodes {
		require.NoError(t, n.AwaitReady(ctx))
	}
	converse(ctx, t, gateways, "tls")

	// What it logged is where it listens.
	ready := regexp.MustCompile(`rooms node is ready.*"addr":"([0-9.:]+)"`).FindStringSubmatch(rooms[0].Log())
	require.Len(t, ready, 2, "the address in the log")
	dialer := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}} // It is the server that must refuse.
	conn, err := dialer.DialContext(ctx, "tcp", ready[1])
	if err == nil { // TLS 1.3 tells a client only after its handshake.
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		_, err = conn.Read(make([]byte, 1))
		require.NoError(t, conn.Close())
	}
	require.ErrorContains(t, err, "certificate required")

	plain, err := new(net.Dialer).DialContext(ctx, "tcp", ready[1])
	require.NoError(t, err)
	require.NoError(t, plain.SetDeadline(time.Now().Add(patience)))
	_, err = plain.Write([]byte("no TLS at all\r\n\r\n"))
	require.NoError(t, err)
	_, err = plain.Read(make([]byte, 1))
	var timeout net.Error
	require.Error(t, err)
	require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "the connection is cut")
	require.NoError(t, plain.Close())
}

type pemFiles struct{ cert, key, ca string }

// certificate makes a CA, and with it one certificate that all nodes of the test share.
func certificate(t *testing.T) pemFiles {
	t.Helper()
	dir := t.TempDir()
	files := pemFiles{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")}
	authority, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nodes"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	node := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   ca.NotBefore, NotAfter: ca.NotAfter,
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	for _, f := range []struct {
		path, kind string
		der        []byte
	}{
		{files.ca, "CERTIFICATE", sign(t, ca, ca, authority.Public(), authority)},
		{files.cert, "CERTIFICATE", sign(t, node, ca, key.Public(), authority)},
		{files.key, "PRIVATE KEY", private},
	} {
		require.NoError(t, os.WriteFile(f.path, pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der}), 0o600))
	}
	return files
}

func sign(t *testing.T, template, parent *x509.Certificate, public any, with *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, with)
	require.NoError(t, err)
	return der
}
