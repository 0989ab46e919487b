package opskit

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type opsBundle struct {
	server    *OpsServer
	health    *Health
	telemetry *Telemetry
}

func setupOps(t *testing.T) opsBundle {
	t.Helper()
	telemetry, err := SetupTelemetry(t.Context(), TelemetryConfig{Service: "ops-test", Version: "v1", Node: "n1", DC: "dc1"})
	require.NoError(t, err)
	b := opsBundle{health: NewHealth(), telemetry: telemetry}
	b.server = NewOpsServer(OpsConfig{Listen: "127.0.0.1:0"}, b.health, telemetry, quiet())
	b.server.Mux().HandleFunc("GET /debug/rooms", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("rooms"))
	})
	require.Empty(t, b.server.Addr())
	require.NoError(t, b.server.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		require.NoError(t, b.server.Stop(ctx))
		require.NoError(t, telemetry.Shutdown(ctx))
	})
	return b
}

func get(t *testing.T, s *OpsServer, path string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr()+path, nil)
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer func() { require.NoError(t, resp.Body.Close()) }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body), resp.Header
}

func TestOpsServerProbes(t *testing.T) {
	t.Parallel()
	b := setupOps(t)
	b.health.AddCheck("journal", func(context.Context) error { return errors.New("disk full") })

	for _, path := range []string{"/livez", "/healthz"} {
		status, body, header := get(t, b.server, path)
		require.Equal(t, http.StatusOK, status, "liveness never depends on checks")
		require.Equal(t, "ok\n", body)
		require.Equal(t, "no-store", header.Get("Cache-Control"))
	}
	status, body, _ := get(t, b.server, "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "[-]started failed: still starting\n")
	require.Contains(t, body, "[-]journal failed: disk full\n")
}

func TestOpsServerReadyWithAndWithoutVerbose(t *testing.T) {
	t.Parallel()
	b := setupOps(t)
	b.health.SetStarted()
	b.health.AddCheck("journal", func(context.Context) error { return nil })

	status, body, _ := get(t, b.server, "/readyz")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "ok\n", body)

	status, body, _ = get(t, b.server, "/readyz?verbose")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "[+]started ok\n[+]not-draining ok\n[+]journal ok\nreadyz check passed\n", body)

	b.health.SetDraining(true)
	status, _, _ = get(t, b.server, "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status)
}

func TestOpsServerPages(t *testing.T) {
	t.Parallel()
	b := setupOps(t)

	status, body, header := get(t, b.server, "/version")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "application/json", header.Get("Content-Type"))
	var info BuildInfo
	require.NoError(t, json.Unmarshal([]byte(body), &info))
	require.Equal(t, Version(), info)

	_, body, _ = get(t, b.server, "/metrics")
	require.Contains(t, body, "go_goroutines ")
	require.Contains(t, body, "process_resident_memory_bytes ")

	status, body, _ = get(t, b.server, "/debug/pprof/goroutine?debug=1")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "goroutine profile:")

	_, body, _ = get(t, b.server, "/debug/rooms")
	require.Equal(t, "rooms", body)

	status, _, _ = get(t, b.server, "/nothing")
	require.Equal(t, http.StatusNotFound, status)
}

func TestOpsServerWithoutTelemetryHasNoMetrics(t *testing.T) {
	t.Parallel()
	s := NewOpsServer(OpsConfig{Listen: "127.0.0.1:0"}, NewHealth(), nil, quiet())
	require.NoError(t, s.Start(t.Context()))
	status, _, _ := get(t, s, "/metrics")
	require.Equal(t, http.StatusNotFound, status)
	require.NoError(t, s.Stop(t.Context()))
}

func TestOpsServerSaysHowToFixATakenPort(t *testing.T) {
	t.Parallel()
	first := setupOps(t)
	second := NewOpsServer(OpsConfig{Listen: first.server.Addr()}, NewHealth(), nil, quiet())
	require.ErrorContains(t, second.Start(t.Context()), "address in use: set PARLEY_OPS_LISTEN or --ops-listen")

	bad := NewOpsServer(OpsConfig{Listen: "127.0.0.1:notaport"}, NewHealth(), nil, quiet())
	require.ErrorContains(t, bad.Start(t.Context()), "listen on 127.0.0.1:notaport (PARLEY_OPS_LISTEN, --ops-listen)")
}

func TestOpsServerReportsThatServingEnded(t *testing.T) {
	t.Parallel()
	s := NewOpsServer(OpsConfig{Listen: "127.0.0.1:0"}, NewHealth(), nil, quiet())
	require.NoError(t, s.Start(t.Context()))
	require.NoError(t, s.listener.Close())
	require.ErrorIs(t, <-s.Failure(), net.ErrClosed)
	_ = s.Stop(t.Context()) // the listener is closed already
}

func TestOpsServerStopCutsRequestsAtTheBound(t *testing.T) {
	t.Parallel()
	s := NewOpsServer(OpsConfig{Listen: "127.0.0.1:0"}, NewHealth(), nil, quiet())
	entered := make(chan struct{})
	s.Mux().HandleFunc("GET /slow", func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	})
	require.NoError(t, s.Start(t.Context()))
	failed := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr()+"/slow", nil)
		if err == nil {
			var resp *http.Response
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			if resp, err = client.Do(req); err == nil {
				err = resp.Body.Close()
			}
		}
		failed <- err
	}()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()

	require.ErrorIs(t, s.Stop(ctx), context.DeadlineExceeded)
	require.Error(t, <-failed, "the connection was cut")
}
