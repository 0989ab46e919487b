package etcdtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// startTimeout bounds the start of a server on a busy machine.
const startTimeout = time.Minute

// Options of a server. The zero value is a plain one.
type Options struct {
	// Flags are added to the command line.
	Flags []string
	// TLS is how a client reaches a server that has certificates in its Flags.
	TLS *tls.Config
}

// Server is an etcd server: its data, its port and at most one process at a time. Methods fail the test when they cannot do
// their work; one at a time.
type Server struct {
	binary string
	dir    string
	client port
	name   string
	peers  string // name=url of all members
	peer   string // own url
	opts   Options
	frozen bool

	process *process
	log     *output
}

// Start returns a server that answers, and ends it with the test.
func Start(t *testing.T, opts Options) *Server {
	t.Helper()
	return Cluster(t, 1, opts)[0]
}

// Cluster returns servers that form a cluster.
func Cluster(t *testing.T, members int, opts Options) []*Server {
	t.Helper()
	binary, err := Binary()
	require.NoError(t, err)
	all := make([]*Server, members)
	var peers []string
	for i := range all {
		client, err := reservePort()
		require.NoError(t, err)
		peer, err := reservePort()
		require.NoError(t, err)
		s := &Server{
			binary: binary, dir: filepath.Join(t.TempDir(), "etcd"), client: client, name: "m" + strconv.Itoa(i),
			peer: "http://127.0.0.1:" + strconv.Itoa(peer.number), opts: opts, log: &output{},
		}
		peers = append(peers, s.name+"="+s.peer)
		all[i] = s
		t.Cleanup(func() {
			s.end()
			require.NoError(t, client.release())
			require.NoError(t, peer.release())
		})
	}
	for _, s := range all {
		s.peers = strings.Join(peers, ",")
		s.launch(t)
	}
	for _, s := range all {
		s.await(t)
	}
	return all
}

// Addr is host:port for clients. It stays the same.
func (s *Server) Addr() string { return "127.0.0.1:" + strconv.Itoa(s.client.number) }

// Kill ends the process as kill -9 does.
func (s *Server) Kill(t *testing.T) {
	t.Helper()
	s.end()
	s.frozen = false
}

// Restart starts a killed server again, on what it stored or, with empty, on nothing.
func (s *Server) Restart(t *testing.T, empty bool) {
	t.Helper()
	if empty {
		require.NoError(t, os.RemoveAll(s.dir))
	}
	s.launch(t)
	s.await(t)
}

// Freeze stops the process without ending it; connections stay open and nothing answers, until Thaw.
func (s *Server) Freeze(t *testing.T) {
	t.Helper()
	require.NoError(t, s.process.signal(syscall.SIGSTOP))
	s.frozen = true
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for {
		done, err := suspended(s.process.pid)
		require.NoError(t, err)
		if done {
			return
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			require.FailNow(t, "etcd does not stand still")
		}
	}
}

// Thaw ends Freeze.
func (s *Server) Thaw(t *testing.T) {
	t.Helper()
	require.NoError(t, s.process.signal(syscall.SIGCONT))
	s.frozen = false
}

// Frozen says whether the server is frozen.
func (s *Server) Frozen() bool { return s.frozen }

func (s *Server) launch(t *testing.T) {
	t.Helper()
	scheme := "http"
	if s.opts.TLS != nil {
		scheme = "https"
	}
	url := scheme + "://" + s.Addr()
	cmd := exec.CommandContext(context.Background(), s.binary, append([]string{
		"--name", s.name, "--data-dir", s.dir, "--listen-client-urls", url, "--advertise-client-urls", url,
		"--listen-peer-urls", s.peer, "--initial-advertise-peer-urls", s.peer, "--initial-cluster", s.peers,
		"--logger", "zap", "--log-level", "warn", "--unsafe-no-fsync", // a killed process loses nothing that it wrote
	}, s.opts.Flags...)...)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	cmd.SysProcAttr = attributes()
	var err error
	s.process, err = launch(cmd)
	require.NoError(t, err)
}

// await waits until the server answers linearizable reads.
func (s *Server) await(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: s.opts.TLS, DisableKeepAlives: true}
	scheme := "http"
	if s.opts.TLS != nil {
		scheme = "https"
	}
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !healthy(ctx, transport, scheme+"://"+s.Addr()+"/health") {
		select {
		case <-poll.C:
		case <-s.process.done:
			require.FailNow(t, "etcd ended", "%v: %s", s.process.err, s.log)
		case <-ctx.Done():
			require.FailNow(t, "etcd does not answer", "%s", s.log)
		}
	}
}

func healthy(ctx context.Context, transport *http.Transport, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return false
	}
	return response.Body.Close() == nil && response.StatusCode == http.StatusOK
}

func (s *Server) end() {
	if s.process == nil {
		return
	}
	_ = s.process.signal(syscall.SIGKILL) // it may have ended
	<-s.process.done
}

// output keeps what a server says, for the test that fails.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.buf.Len() > 1<<20 {
		o.buf.Reset()
	}
	return o.buf.Write(p)
}

// String is the end of it.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.buf.String()
	return all[max(0, len(all)-4000):]
}

// String names the server in failures.
func (s *Server) String() string { return fmt.Sprintf("etcd %s at %s", s.name, s.Addr()) }
