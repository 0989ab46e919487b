package actorkit_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
)

// wires are the connections between nodes of one test, which have TLS so that each end knows who the other is. Any of them can
// be cut.
type wires struct {
	t  *testing.T
	ca *actorkittest.CA

	mu   sync.Mutex
	cuts map[[2]string]bool
	made map[[2]string][]net.Conn
}

var errWireCut = errors.New("cut by the test")

func newWires(t *testing.T) *wires {
	t.Helper()
	return &wires{t: t, ca: actorkittest.NewCA(t), cuts: map[[2]string]bool{}, made: map[[2]string][]net.Conn{}}
}

func between(a, b string) [2]string {
	pair := []string{a, b}
	slices.Sort(pair)
	return [2]string{pair[0], pair[1]}
}

// start starts a node on these wires.
func (w *wires) start(name string, h actorkit.Handler, edit ...func(*actorkit.NodeConfig)) *actorkit.Node {
	w.t.Helper()
	files := w.ca.Issue([]string{"127.0.0.1"}, func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: name} })
	config, err := files.Load()
	require.NoError(w.t, err)
	strict := config.VerifyConnection
	config.VerifyConnection = func(s tls.ConnectionState) error { // of those that it makes
		return errors.Join(strict(s), w.check(name, s, nil))
	}
	taking := config.Clone()
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		c := taking.Clone()
		c.VerifyConnection = func(s tls.ConnectionState) error { return w.check(name, s, hello.Conn) }
		return c, nil
	}
	return actorkittest.StartNode(w.t, name, h, append(edit, func(c *actorkit.NodeConfig) { c.TLS = config })...)
}

func (w *wires) check(self string, s tls.ConnectionState, conn net.Conn) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	pair := between(self, s.PeerCertificates[0].Subject.CommonName)
	if w.cuts[pair] {
		return errWireCut
	}
	if conn != nil {
		w.made[pair] = append(w.made[pair], conn)
	}
	return nil
}

// cut breaks all connections between two nodes, in both directions, and refuses new ones.
func (w *wires) cut(a, b string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	pair := between(a, b)
	w.cuts[pair] = true
	for _, c := range w.made[pair] {
		_ = c.Close() // it may be closed
	}
	delete(w.made, pair)
}

func (w *wires) heal(a, b string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.cuts, between(a, b))
}
