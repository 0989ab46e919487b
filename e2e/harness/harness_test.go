package harness

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAddressesAreReadFromTheTable(t *testing.T) {
	t.Parallel()
	for name, table := range map[string][]string{
		"chat page first": {"", "  chat page      http://127.0.0.1:8080/", "  websocket      ws://127.0.0.1:8080/ws", "  admin api      http://127.0.0.1:8081   (parley room)", "  ops            http://127.0.0.1:9090   (/readyz /metrics)"},
		"services":        {"Gateway http://127.0.0.1:8080", "rooms none", "OPS  http://127.0.0.1:9090/", "Admin API http://127.0.0.1:8081"},
		"first one wins":  {"gateway http://127.0.0.1:8080 or http://localhost:1", "ops http://127.0.0.1:9090", "admin api http://127.0.0.1:8081", "admin api http://127.0.0.1:7", "ops http://127.0.0.1:2", "gateway http://127.0.0.1:3"},
	} {
		var at addresses
		for _, line := range table {
			at.read(line)
		}
		require.Equal(t, addresses{"127.0.0.1:8080", "127.0.0.1:9090", "127.0.0.1:8081"}, at, name)
	}
}

// run starts a shell script that stands in for the binary.
func run(t *testing.T, script string, timeout time.Duration) (*process, addresses, *os.File, error) {
	t.Helper()
	log := logFile(t)
	p, at, err := start("/bin/sh", []string{"-c", script}, log, timeout)
	return p, at, log, err
}

func logFile(t *testing.T) *os.File {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(t.TempDir(), "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, log.Close()) })
	return log
}

func TestStartWaitsForReady(t *testing.T) {
	t.Parallel()
	p, at, log, err := run(t, "echo 'gateway http://127.0.0.1:1'; echo 'ops http://127.0.0.1:2'; echo 'admin api http://127.0.0.1:3'; echo ready; exec sleep 60", time.Minute)
	require.NoError(t, err)
	require.Equal(t, addresses{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}, at)
	require.NoError(t, p.exit(), "runs")
	p.kill()
	require.ErrorContains(t, p.exit(), "killed")
	require.Contains(t, tail(log.Name(), 10), "ready")
}

func TestStartTellsWhyItFailed(t *testing.T) {
	t.Parallel()
	_, _, log, err := run(t, "echo no >&2; exit 3", time.Minute)
	require.ErrorContains(t, err, "exit status 3")
	require.Equal(t, "no", tail(log.Name(), 10))

	_, _, _, err = run(t, "exec sleep 60", 50*time.Millisecond)
	require.ErrorContains(t, err, "not ready after")

	_, _, err = start(filepath.Join(t.TempDir(), "missing"), nil, log, time.Minute)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestKillEndsTheWholeGroup(t *testing.T) {
	t.Parallel()
	p, _, _, err := run(t, "sleep 60 & echo ready; wait", time.Minute)
	require.NoError(t, err)
	p.kill() // returns only after the pipe is closed, which the grandchild holds too
	require.Error(t, p.exit())
}
