// Package certs keeps the certificate of a TLS server up to date with its files.
//
// # Usage
//
//	pair, err := certs.Load(certs.Files{Cert: "tls.crt", Key: "tls.key"}, certs.Deps{…})
//	go pair.Run(ctx) // looks at the files every second
//	listener = tls.NewListener(listener, pair.ServerConfig())
//
// A pair that was replaced is used from the next handshake on; connections that are open keep the one they began with. Files may
// be replaced one after the other, by renaming others over them, or by moving a symbolic link that they are reached through, as
// Kubernetes does. A pair that cannot be used, because a file is gone or broken or the two do not belong together, leaves the last
// one in use, and is logged and counted when it is still there a second later.
//
// # Concurrency
//
// A Pair is safe for concurrent use.
package certs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// lookEvery is how often the files are looked at.
const lookEvery = time.Second

// Files name the PEM files of a certificate, with the chain to its authority, and of its private key.
type Files struct{ Cert, Key string }

// Deps are what a Pair is given. Zero values: no logs, no metrics.
type Deps struct {
	Logger        *slog.Logger
	MeterProvider metric.MeterProvider
}

// Pair is a certificate with its key.
type Pair struct {
	files   Files
	logger  *slog.Logger
	metrics *metrics
	current atomic.Pointer[tls.Certificate]

	// Of Run's goroutine:
	seen    [sha256.Size]byte // what the files held when they were last looked at
	pending error             // why that cannot be used, not told yet
}

// Load reads the files. The error says which of them is wrong, and shows nothing of the key.
func Load(files Files, deps Deps) (*Pair, error) {
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.MeterProvider == nil {
		deps.MeterProvider = noop.NewMeterProvider()
	}
	p := &Pair{files: files, logger: deps.Logger}
	cert, key, err := files.read()
	if err != nil {
		return nil, err
	}
	parsed, err := parse(cert, key)
	if err != nil {
		return nil, err
	}
	p.use(parsed)
	p.seen = digest(cert, key)
	if p.metrics, err = newMetrics(deps.MeterProvider, p); err != nil {
		return nil, err
	}
	return p, nil
}

// Leaf is the certificate in use.
func (p *Pair) Leaf() *x509.Certificate { return p.current.Load().Leaf }

// ServerConfig is for a server of HTTP/1.1, and so of WebSockets: TLS 1.2 and later, with forward secrecy and authenticated
// encryption only. HTTP/2 is not offered: a WebSocket is not opened over it.
func (p *Pair) ServerConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{ // of TLS 1.2; those of 1.3 are all good
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.current.Load(), nil },
	}
}

// Run looks after the files until ctx ends.
func (p *Pair) Run(ctx context.Context) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			p.look(ctx)
		}
	}
}

// look takes a new pair into use. One that cannot be used may be half of a change: it is told of only when it stays.
func (p *Pair) look(ctx context.Context) {
	cert, key, err := p.files.read()
	now := digest(cert, key)
	if now == p.seen {
		if p.pending != nil {
			p.logger.Error("new certificate cannot be used, the last one stays in use", slog.Any("err", p.pending))
			p.metrics.reloaded(ctx, p.pending)
			p.pending = nil
		}
		return
	}
	p.seen, p.pending = now, err
	if err != nil {
		return
	}
	parsed, err := parse(cert, key)
	if err != nil {
		p.pending = err
		return
	}
	if slices.EqualFunc(p.current.Load().Certificate, parsed.Certificate, bytes.Equal) {
		return // a change that was taken back
	}
	p.use(parsed)
	p.metrics.reloaded(ctx, nil)
	p.logger.Info("certificate replaced", slog.Time("not_after", parsed.Leaf.NotAfter))
}

func (p *Pair) use(cert *tls.Certificate) {
	p.current.Store(cert)
	if left := time.Until(cert.Leaf.NotAfter); left < 0 {
		p.logger.Error("certificate has expired: clients will refuse it", slog.Time("not_after", cert.Leaf.NotAfter))
	}
}

// read reads both files. What one of them lacks is in the error and not in the content.
func (f Files) read() (cert, key []byte, err error) {
	cert, err1 := os.ReadFile(f.Cert)
	key, err2 := os.ReadFile(f.Key)
	return cert, key, errors.Join(err1, err2)
}

func digest(cert, key []byte) [sha256.Size]byte {
	h := sha256.New()
	for _, part := range [][]byte{cert, key} {
		sum := sha256.Sum256(part)
		h.Write(sum[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func parse(cert, key []byte) (*tls.Certificate, error) {
	parsed, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("certificate and key: %w", err)
	}
	if parsed.Leaf == nil {
		if parsed.Leaf, err = x509.ParseCertificate(parsed.Certificate[0]); err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
	}
	return &parsed, nil
}
