package actorkit

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// TLSFiles name the PEM files with which the nodes of a deployment recognise each other. All three or none.
type TLSFiles struct {
	Cert string `placeholder:"FILE" help:"Certificate of this node for connections between nodes, with the chain to the CA; PEM. It must be good for servers and for clients. Read again when it changes."`
	Key  string `placeholder:"FILE" help:"Private key of that certificate; PEM. Read again when it changes."`
	CA   string `name:"ca" placeholder:"FILE" help:"Certificate of the authority that signs the nodes' certificates, and nothing else: whoever has a certificate of it is a node; PEM, several during a change. Read again when it changes."`
}

// Empty says that TLS is off.
func (f TLSFiles) Empty() bool { return f == TLSFiles{} }

// Load reads and checks the files and returns the configuration of both ends of every connection: TLS 1.3, and each proves to the
// other that the CA has signed for it as a server and as a client. Names and addresses in certificates are not looked at: GoAkt's
// client does not say whom it calls, so it is the CA that says who is a node. The error lists every problem with what to do.
func (f TLSFiles) Load() (*tls.Config, error) {
	if err := f.complete(); err != nil {
		return nil, err
	}
	var problems []error
	pair := &keyPair{watched: watched{paths: []string{f.Cert, f.Key}}, files: f}
	if err := pair.read(); err != nil {
		problems = append(problems, fmt.Errorf("PARLEY_CLUSTER_TLS_CERT and PARLEY_CLUSTER_TLS_KEY: %w: give the PEM files of a certificate and its own private key", err))
	}
	authorities := &authorities{watched: watched{paths: []string{f.CA}}, file: f.CA}
	if err := authorities.read(); err != nil {
		problems = append(problems, fmt.Errorf("PARLEY_CLUSTER_TLS_CA: %w: give the PEM file of the CA that signs the nodes' certificates", err))
	}
	if len(problems) == 0 {
		problems = checkChain(pair.cert, authorities.pool)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return &tls.Config{
		MinVersion:           tls.VersionTLS13,
		GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.current(), nil },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair.current(), nil },
		// Chains are verified below, of both ends and by the authorities of that moment; a configuration has those of the moment it was
		// made. Names are not, which GoAkt does not give.
		ClientAuth:         tls.RequireAnyClientCert,
		InsecureSkipVerify: true, //nolint:gosec // see above
		VerifyConnection: func(s tls.ConnectionState) error {
			pool := authorities.current()
			return errors.Join(verify(s.PeerCertificates, pool, x509.ExtKeyUsageServerAuth), verify(s.PeerCertificates, pool, x509.ExtKeyUsageClientAuth))
		},
	}, nil
}

// verify checks that the pool's authorities have signed for a certificate, through those that came with it.
func verify(chain []*x509.Certificate, pool *x509.CertPool, usage x509.ExtKeyUsage) error {
	if len(chain) == 0 {
		return errors.New("no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}})
	return err
}

func (f TLSFiles) complete() error {
	var missing []string
	for _, s := range []struct{ name, value string }{
		{"PARLEY_CLUSTER_TLS_CERT", f.Cert}, {"PARLEY_CLUSTER_TLS_KEY", f.Key}, {"PARLEY_CLUSTER_TLS_CA", f.CA},
	} {
		if s.value == "" {
			missing = append(missing, s.name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("TLS between nodes is set only in part: set %s as well, or none of the three", strings.Join(missing, " and "))
	}
	return nil
}

func readPool(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate", path)
	}
	return pool, nil
}

// checkChain finds what the other nodes would refuse.
func checkChain(cert *tls.Certificate, pool *x509.CertPool) []error {
	const setting = "PARLEY_CLUSTER_TLS_CERT"
	var problems []error
	var chain []*x509.Certificate
	for _, der := range cert.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return []error{fmt.Errorf("%s: %w", setting, err)}
		}
		chain = append(chain, c)
	}
	for _, usage := range []struct {
		key  x509.ExtKeyUsage
		name string
	}{{x509.ExtKeyUsageServerAuth, "server authentication"}, {x509.ExtKeyUsageClientAuth, "client authentication"}} {
		err := verify(chain, pool, usage.key)
		var invalid x509.CertificateInvalidError
		switch {
		case err == nil:
		case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
			problems = append(problems, fmt.Errorf("%s: the certificate is not good for %s: issue it with that extended key usage, since every node is a server and a client", setting, usage.name))
		case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
			return append(problems, fmt.Errorf("%s: %w: renew it", setting, err))
		default:
			return append(problems, fmt.Errorf("%s: %w: have it signed by the CA in PARLEY_CLUSTER_TLS_CA", setting, err))
		}
	}
	return problems
}

// reloadEvery is how often the files are looked at, at most, when connections are made.
const reloadEvery = time.Second

// watched are files that are read again when they change. What cannot be read, such as a pair of which only the first file has been
// replaced, leaves the last that could in use.
type watched struct {
	paths []string

	mu     sync.Mutex
	stamp  string
	looked time.Time
}

// look calls read when the files have changed since it last succeeded. mu must be held.
func (w *watched) look(read func() error) {
	if time.Since(w.looked) < reloadEvery {
		return
	}
	w.looked = time.Now()
	if w.stamps() != w.stamp {
		_ = read() // looked at again later
	}
}

// stamps changes with the files.
func (w *watched) stamps() string {
	var b strings.Builder
	for _, path := range w.paths {
		if info, err := os.Stat(path); err == nil {
			fmt.Fprintf(&b, "%d/%d ", info.Size(), info.ModTime().UnixNano())
		}
	}
	return b.String()
}

// keyPair is a node's certificate and its key.
type keyPair struct {
	watched
	files TLSFiles
	cert  *tls.Certificate
}

func (p *keyPair) current() *tls.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.look(p.read)
	return p.cert
}

// read replaces the pair. mu must be held, or nobody else have it.
func (p *keyPair) read() error {
	stamp := p.stamps()
	cert, err := tls.LoadX509KeyPair(p.files.Cert, p.files.Key)
	if err != nil {
		return err
	}
	p.cert, p.stamp = &cert, stamp
	return nil
}

// authorities are who signs for nodes.
type authorities struct {
	watched
	file string
	pool *x509.CertPool
}

func (a *authorities) current() *x509.CertPool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.look(a.read)
	return a.pool
}

// read replaces the pool. mu must be held, or nobody else have it.
func (a *authorities) read() error {
	stamp := a.stamps()
	pool, err := readPool(a.file)
	if err != nil {
		return err
	}
	a.pool, a.stamp = pool, stamp
	return nil
}
