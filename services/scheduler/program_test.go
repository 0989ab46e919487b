package scheduler

import (
	"bytes"
	"flag"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/opskit"
)

var update = flag.Bool("update", false, "write generated pages instead of comparing them")

// Every setting is documented as the program reads it.
func TestReferencePage(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "docs", "reference", "config-scheduler.md")
	const generate = "go test ./services/scheduler -run ReferencePage -update"
	want, err := Program().Page(generate)
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o600))
		return
	}
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, want == string(got), "the page is out of date: %s", generate)
}

// environ is a configuration without a problem, changed and extended by more.
func environ(t *testing.T, more ...string) []string {
	t.Helper()
	return append([]string{
		"PARLEY_DC=dc-a", "PARLEY_NODE=scheduler-1", "PARLEY_ADVERTISE_HOST=127.0.0.1", "PARLEY_DATA_DIR=" + t.TempDir(),
		"PARLEY_REMOTING_PORT=0", "PARLEY_DISCOVERY_PORT=0", "PARLEY_PEERS_PORT=0", "PARLEY_OPS_LISTEN=127.0.0.1:0",
		"PARLEY_JOURNAL_URL=postgres://parley:secret@db/parley", "PARLEY_CONTROL_PLANE_URL=nats://nats:4222",
	}, more...)
}

func load(environ []string) (*Settings, error) {
	var s Settings
	options := Program().LoadOptions()
	options.Environ = environ
	_, err := opskit.Load(&s, nil, options)
	return &s, err
}

func TestSettingsMakeAConfiguration(t *testing.T) {
	t.Parallel()
	s, err := load(environ(t, "PARLEY_REGION=eu", "PARLEY_CLUSTER_QUORUM=1"))
	require.NoError(t, err)
	c, err := s.config()
	require.NoError(t, err)
	require.Equal(t, "dc-a", c.DC)
	require.Equal(t, "eu", c.Region)
	require.Equal(t, "scheduler-1", c.Node)
	require.Equal(t, "127.0.0.1", c.Host)
	require.Equal(t, 1, c.Quorum)
	require.NotNil(t, c.Finder)
	require.Equal(t, s.DataDir, c.DataDir)
}

// Whatever is wrong is said at once, each with what to do, and no password with it.
func TestSettingsNameEveryProblem(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, taken.Close()) }()
	var out bytes.Buffer
	p := Program()
	p.Stderr = &out
	p.Environ = []string{
		"PARLEY_NODE=a/b", "PARLEY_NODES=x", "PARLEY_ADVERTISE_HOST=127.0.0.1", "PARLEY_DATA_DIR=" + t.TempDir(),
		"PARLEY_JOURNAL_URL=mysql://root:secret@db/x", "PARLEY_CONTROL_PLANE_URL=http://user:secret@plane", "PARLEY_OPS_LISTEN=" + taken.Addr().String(),
		"PARLEY_CLUSTER_QUORUM=3", "PARLEY_SEEDS=127.0.0.1:1,127.0.0.1:2", "PARLEY_REMOTING_PORT=0", "PARLEY_DISCOVERY_PORT=0", "PARLEY_PEERS_PORT=many",
		"PARLEY_MIGRATE=maybe",
		"PARLEY_API_LISTEN=nowhere", "PARLEY_AUTH_MODE=jwt",
	}
	require.Equal(t, opskit.ExitConfig, p.Run(t.Context(), nil))
	for _, want := range []string{
		`unknown variable PARLEY_NODES: did you mean "PARLEY_NODE"?`,
		"PARLEY_PEERS_PORT: ",
		`PARLEY_MIGRATE: must be one of auto, off, not "maybe"`,
		"PARLEY_DC (or --dc) is required: ",
		"PARLEY_DISCOVERY_PORT: 0 takes a free port",
		`PARLEY_JOURNAL_URL: journal URL has the unknown scheme "mysql"`,
		"PARLEY_CONTROL_PLANE_URL: ",
		"PARLEY_NODE: node name must match",
		"PARLEY_API_LISTEN: ", "PARLEY_AUTH_HMAC_SECRET: has 0 bytes",
		"PARLEY_OPS_LISTEN: " + taken.Addr().String() + " is in use by another process: stop that one or choose another port",
	} {
		require.Contains(t, out.String(), want)
	}
	require.NotContains(t, out.String(), "secret")

	_, err = load(append(environ(t), "PARLEY_JOURNAL_URL=memory://", "PARLEY_CONTROL_PLANE_URL=nats://nats:4222"))
	require.ErrorContains(t, err, "PARLEY_JOURNAL_URL: memory:// would lose every schedule")
}
