// Package idle measures what connections cost that are in a room and silent.
package idle

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
)

var (
	clients = flag.Int("idle.clients", 2000, "how many connections; 10,000 for figures worth comparing")
	oneRoom = flag.Bool("idle.one-room", false, "all are in one room; otherwise each is in its own")
	secure  = flag.Bool("idle.tls", false, "they connect over TLS")
	dev     = flag.Bool("idle.dev", false, "measure `parley dev`, which is gateway, rooms, journal and control plane in one process; otherwise a gateway")
	rest    = flag.Duration("idle.rest", 30*time.Second, "how long to look on")
	profile = flag.String("idle.profile", "", "a file for the heap profile of the process with its connections")
)

const patience = 4 * time.Minute

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(crowdVariable) != "" {
		if err := crowdMain(); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// BenchmarkIdle: see docs/benchmarks.md.
func BenchmarkIdle(b *testing.B) {
	for range b.N {
		run(b)
	}
}

func run(b *testing.B) {
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	s := deploy(ctx, b)
	before := s.look(ctx, b)
	crowd(b, s.webSocket)
	joined := s.look(ctx, b)
	select {
	case <-time.After(*rest):
	case <-ctx.Done():
	}
	rested := s.look(ctx, b)
	if *profile != "" {
		require.NoError(b, os.WriteFile(*profile, s.get(ctx, b, "/debug/pprof/heap?gc=1"), 0o600))
	}
	collected := s.look(ctx, b, "gc=1")

	per := func(now, then int64) float64 { return float64(now-then) / float64(*clients) / 1024 }
	b.ReportMetric(per(joined.resident, before.resident), "KiB/conn-joined")
	b.ReportMetric(per(rested.resident, before.resident), "KiB/conn-rested")
	b.ReportMetric(per(collected.resident, before.resident), "KiB/conn-after-gc")
	b.ReportMetric(per(collected.heap, before.heap), "KiB-heap/conn")
	b.ReportMetric(per(collected.stacks, before.stacks), "KiB-stack/conn")
	b.ReportMetric(float64(joined.cpu.Microseconds()-before.cpu.Microseconds())/float64(*clients), "µs-CPU/conn-and-join")
	b.ReportMetric(float64(rested.cpu.Microseconds()-joined.cpu.Microseconds())/float64(*clients)/rest.Seconds(), "µs-CPU/conn-and-s-idle")
	b.ReportMetric(float64(rested.goroutines-before.goroutines)/float64(*clients), "goroutines/conn")
	b.ReportMetric(float64(before.resident)/(1<<20), "MiB-empty")
	b.Logf("empty %v; joined %v; rested %v; after a collection %v", before, joined, rested, collected)
}

// server is the process that is measured.
type server struct {
	pid            int
	webSocket, ops string
}

func deploy(ctx context.Context, b *testing.B) server {
	b.Helper()
	if *dev {
		s := harness.StartDev(b)
		return server{s.PID(), s.WebSocket(), s.OpsURL()}
	}
	postgres := harness.StartCluster(b)
	harness.Migrate(b, postgres.URL())
	nats := harness.NewNATS(b)
	nats.Start()
	d := &harness.Deployment{JournalURL: postgres.URL(), ControlPlaneURL: nats.URL()}
	var setting []string
	if *secure {
		setting = certificate(b)
	}
	rooms, gateway := d.NewNodes(b, harness.Rooms, 1)[0], d.NewNodes(b, harness.Gateway, 1, setting...)[0]
	rooms.Start()
	gateway.Start()
	require.NoError(b, rooms.AwaitReady(ctx))
	require.NoError(b, gateway.AwaitReady(ctx))
	url := gateway.WebSocket()
	if *secure {
		url = "wss" + strings.TrimPrefix(url, "ws")
	}
	return server{gateway.PID(), url, gateway.OpsURL()}
}

// certificate makes a key and its certificate and returns the settings that name them.
func certificate(b *testing.B) []string {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(b, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(b, err)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(b, err)
	dir := b.TempDir()
	write := func(name, kind string, body []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(b, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: body}), 0o600))
		return path
	}
	return []string{"PARLEY_TLS_CERT=" + write("cert.pem", "CERTIFICATE", der), "PARLEY_TLS_KEY=" + write("key.pem", "PRIVATE KEY", raw)}
}

// crowd connects the clients, from another process, and returns when all are in their rooms.
func crowd(b *testing.B, url string) {
	b.Helper()
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), crowdVariable+"="+url)
	var said bytes.Buffer
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	require.NoError(b, err)
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	b.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil { // one lost its connection meanwhile
			b.Errorf("the clients: %v: %s", err, said.String())
		}
	})
	require.NoError(b, err)
	require.Equal(b, "joined\n", line)
}

// state is what a process uses.
type state struct {
	resident, heap, stacks int64 // bytes; heap and stacks are those in use
	goroutines             int
	cpu                    time.Duration
}

func (s state) String() string {
	return fmt.Sprintf("%.1f MiB resident, %.1f MiB of heap and %.1f MiB of stacks in use, %d goroutines",
		float64(s.resident)/(1<<20), float64(s.heap)/(1<<20), float64(s.stacks)/(1<<20), s.goroutines)
}

var (
	heapInUse  = regexp.MustCompile(`(?m)^# HeapInuse = (\d+)`)
	stackInUse = regexp.MustCompile(`(?m)^# Stack = (\d+)`)
	goroutines = regexp.MustCompile(`goroutine profile: total (\d+)`)
	resident   = regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB`)
)

// look looks at the process. Memory and CPU come first: looking costs both.
func (s server) look(ctx context.Context, b *testing.B, how ...string) (now state) {
	b.Helper()
	if len(how) > 0 {
		_ = s.get(ctx, b, "/debug/pprof/heap?"+strings.Join(how, "&"))
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	require.NoError(b, err)
	now.resident = number(b, resident, status) << 10
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.pid))
	require.NoError(b, err)
	// The command's name in parentheses may hold spaces; user and system time are the 12th and 13th field behind it, in 1/100 s.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	for _, f := range fields[11:13] {
		ticks, err := strconv.Atoi(string(f))
		require.NoError(b, err)
		now.cpu += time.Duration(ticks) * 10 * time.Millisecond
	}
	heap := s.get(ctx, b, "/debug/pprof/heap?debug=1")
	now.heap, now.stacks = number(b, heapInUse, heap), number(b, stackInUse, heap)
	now.goroutines = int(number(b, goroutines, s.get(ctx, b, "/debug/pprof/goroutine?debug=1")))
	return now
}

func number(b *testing.B, pattern *regexp.Regexp, text []byte) int64 {
	b.Helper()
	match := pattern.FindSubmatch(text)
	require.NotNil(b, match, "%s in %.200s", pattern, text)
	n, err := strconv.ParseInt(string(match[1]), 10, 64)
	require.NoError(b, err)
	return n
}

func (s server) get(ctx context.Context, b *testing.B, path string) []byte {
	b.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.ops+path, nil)
	require.NoError(b, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(b, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(b, err)
	require.Equal(b, http.StatusOK, response.StatusCode)
	return body
}
