package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/opskit/certs"
	"github.com/parley-rt/parley/libs/opskit/certs/certstest"
)

// secured is a gateway with TLS and its authority.
type secured struct {
	*bundle
	ca    *certstest.CA
	files certs.Files
}

func setupTLS(t *testing.T, edit ...func(*Config)) *secured {
	t.Helper()
	dir := t.TempDir()
	s := &secured{ca: certstest.NewCA(t), files: certs.Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}}
	s.install(t, 1)
	s.bundle = setup(t, 1, append(edit, func(c *Config) { c.ClientTLS = s.files })...)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.ca.Pool(), MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	s.http = &http.Client{Transport: transport}
	s.scheme = "wss"
	return s
}

// install puts a certificate with that serial number in place, by renaming.
func (s *secured) install(t *testing.T, serial int64) {
	t.Helper()
	cert, key := s.ca.Issue(serial)
	for path, text := range map[string][]byte{s.files.Cert: cert, s.files.Key: key} {
		require.NoError(t, os.WriteFile(path+".new", text, 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
}

// serial is of the certificate that a new connection is shown.
func (s *secured) serial() int64 {
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: s.ca.Pool(), MinVersion: tls.VersionTLS12}}
	nc, err := dialer.DialContext(s.t.Context(), "tcp", s.service.Addr())
	require.NoError(s.t, err)
	defer func() { require.NoError(s.t, nc.Close()) }()
	state := nc.(*tls.Conn).ConnectionState() //nolint:forcetypeassert // of a tls.Dialer
	return state.PeerCertificates[0].SerialNumber.Int64()
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s := setupTLS(t)
	alice, bob := s.join("room-1"), s.join("room-1")
	alice.send(`{"message":{"target":"room-1","content":"hello"}}`)
	require.Equal(t, []string{"hello"}, bob.messages(1))
	require.Equal(t, http.StatusOK, get(t, s.http, "https://"+s.service.Addr()+"/").StatusCode, "the chat page")
	// It resumes, and is closed in good order.
	require.NoError(t, alice.ws.Close(websocket.StatusNormalClosure, ""))
	require.True(t, s.connect(alice.session.GetToken()).session.GetResumed())

	// In the clear, with an authority that does not know it, or with HTTP/2 only, nobody gets in.
	for scheme, transport := range map[string]*http.Transport{
		"ws":  {},
		"wss": {TLSClientConfig: &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, _, err := websocket.Dial(ctx, scheme+"://"+s.service.Addr()+"/ws", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
		cancel()
		require.Error(t, err, scheme)
		transport.CloseIdleConnections()
	}
	require.Equal(t, "HTTP/1.1", get(t, &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: s.ca.Pool(), MinVersion: tls.VersionTLS12},
	}}, "https://"+s.service.Addr()+"/").Proto)
}

// Certificates are replaced again and again while clients talk and others come: no connection is dropped, nothing is lost, and
// newcomers are shown the newest. A broken one changes nothing.
func TestCertificateIsReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	s := setupTLS(t)
	const readers, rounds = 20, 3
	listeners := make([]*client, readers)
	for i := range listeners {
		listeners[i] = s.join("room-1")
	}
	speaker := s.join("room-1")
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	sent := 0
	load.Go(func() { // until the test says so
		for ctx.Err() == nil {
			if err := speaker.write(fmt.Sprintf(`{"message":{"target":"room-1","content":"%d"}}`, sent)); err != nil {
				t.Errorf("publish: %v", err)
				return
			}
			sent++
			speaker.find("ack")
		}
	})
	come := 0
	load.Go(func() {
		for ctx.Err() == nil {
			c, err := s.tryDial(ctx)
			if err != nil {
				if !errors.Is(ctx.Err(), context.Canceled) {
					t.Errorf("connect: %v", err)
				}
				return
			}
			_ = c.CloseNow()
			come++
		}
	})
	for round := range int64(rounds) {
		s.install(t, 2+round)
		require.Eventually(t, func() bool { return s.serial() == 2+round }, patience, 20*time.Millisecond)
	}
	require.NoError(t, os.WriteFile(s.files.Key, []byte("nonsense"), 0o600))
	end := time.Now().Add(2500 * time.Millisecond)
	require.Eventually(t, func() bool { return time.Now().After(end) }, patience, 100*time.Millisecond)
	require.Equal(t, int64(1+rounds), s.serial(), "the last one that is good stays in use")
	cancel()
	load.Wait()
	require.Positive(t, come)
	require.Greater(t, sent, rounds)
	for _, c := range listeners {
		for i, content := range c.messages(sent) {
			require.Equal(t, fmt.Sprint(i), content)
		}
		require.NoError(t, c.write(`{"ping":{}}`), "still open")
		c.find("pong")
	}
}

// A client that does not read is cut, also when a write to it that ran into its deadline has made its TLS unusable, and holds up
// nobody else meanwhile: neither those in its room nor the wheel that looks after all connections.
func TestSlowReaderBehindTLS(t *testing.T) {
	t.Parallel()
	s := setupTLS(t, func(c *Config) { c.WriteTimeout, c.PingEvery = time.Second, 2*time.Second })
	var slow []*slowClient
	for range 4 {
		nc, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.service.Addr())
		require.NoError(t, err)
		require.NoError(t, nc.(*net.TCPConn).SetReadBuffer(16<<10))
		t.Cleanup(func() { _ = nc.Close() })
		slow = append(slow, s.slow(tls.Client(nc, &tls.Config{RootCAs: s.ca.Pool(), ServerName: "localhost", MinVersion: tls.VersionTLS12}), "room-1"))
	}
	reader, writer := s.join("room-1"), s.join("room-1")
	content := strings.Repeat("x", 32<<10)
	deadline := time.Now().Add(2 * patience)
	for {
		writer.send(`{"message":{"target":"room-1","content":%q}}`, content)
		writer.find("ack")
		reader.find("message")
		if !slices.ContainsFunc(slow, (*slowClient).connected) {
			break
		}
		require.True(t, time.Now().Before(deadline), "a client that does not read is still connected")
	}
	require.Eventually(t, func() bool { return s.service.acceptor.Active() == 2 }, patience, 10*time.Millisecond)
	reader.send(`{"ping":{}}`)
	reader.find("pong")
}

func (s *secured) tryDial(ctx context.Context) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "wss://"+s.service.Addr()+"/ws", &websocket.DialOptions{HTTPClient: s.http})
	return c, err
}

func TestTLSSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for _, c := range []struct{ want, setting, value string }{
		{"PARLEY_TLS_KEY: is not set, and PARLEY_TLS_CERT is", "PARLEY_TLS_CERT", cert},
		{"PARLEY_TLS_CERT: is not set, and PARLEY_TLS_KEY is", "PARLEY_TLS_KEY", key},
	} {
		_, err := load(environ(t, c.setting+"="+c.value))
		require.ErrorContains(t, err, c.want)
	}
	_, err := load(environ(t, "PARLEY_TLS_CERT="+cert, "PARLEY_TLS_KEY="+key))
	require.ErrorContains(t, err, "PARLEY_TLS_CERT and PARLEY_TLS_KEY: open "+cert)
	require.ErrorContains(t, err, key)
	certText, _ := certstest.NewCA(t).Issue(1)
	_, keyText := certstest.NewCA(t).Issue(2)
	require.NoError(t, os.WriteFile(cert, certText, 0o600))
	require.NoError(t, os.WriteFile(key, keyText, 0o600))
	_, err = load(environ(t, "PARLEY_TLS_CERT="+cert, "PARLEY_TLS_KEY="+key))
	require.ErrorContains(t, err, "private key does not match")
	require.NotContains(t, err.Error(), string(keyText))
}
