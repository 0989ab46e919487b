package actorkit_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
)

func TestInvalidNodeConfig(t *testing.T) {
	t.Parallel()
	good := actorkit.NodeConfig{System: "s", Node: "n"}
	for name, c := range map[string]struct {
		edit func(*actorkit.NodeConfig)
		want string
	}{
		"no system":       {func(c *actorkit.NodeConfig) { c.System = "" }, `system name ""`},
		"bad system":      {func(c *actorkit.NodeConfig) { c.System = "-eu" }, `system name "-eu"`},
		"no node":         {func(c *actorkit.NodeConfig) { c.Node = "" }, `node name ""`},
		"long node":       {func(c *actorkit.NodeConfig) { c.Node = strings.Repeat("n", 65) }, "want 1 to 64 bytes"},
		"long life":       {func(c *actorkit.NodeConfig) { c.Incarnation = strings.Repeat("n", 65) }, "want at most 64 bytes"},
		"host name":       {func(c *actorkit.NodeConfig) { c.Host = "localhost" }, `host "localhost"`},
		"IPv6":            {func(c *actorkit.NodeConfig) { c.Host = "::1" }, `host "::1"`},
		"any host":        {func(c *actorkit.NodeConfig) { c.Host = "0.0.0.0" }, `host "0.0.0.0"`},
		"port":            {func(c *actorkit.NodeConfig) { c.PeersPort = 65536 }, "peers port 65536"},
		"port twice":      {func(c *actorkit.NodeConfig) { c.PeersPort, c.RemotingPort = 9, 9 }, "remoting and peers port are both 9"},
		"seed":            {func(c *actorkit.NodeConfig) { c.Seeds = []string{"x"} }, `seed "x"`},
		"quorum":          {func(c *actorkit.NodeConfig) { c.Quorum = -1 }, "quorum -1"},
		"queue":           {func(c *actorkit.NodeConfig) { c.QueueBytes = -1 }, "queue of -1 bytes"},
		"batch":           {func(c *actorkit.NodeConfig) { c.BatchBytes = 9 << 20 }, "batches of 9437184 bytes"},
		"heartbeat":       {func(c *actorkit.NodeConfig) { c.Heartbeat = 2 * time.Second }, "ask timeout 2s"},
		"several at once": {func(c *actorkit.NodeConfig) { c.Node, c.Quorum = "", -1 }, "quorum -1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := good
			c.edit(&cfg)
			_, err := actorkit.StartNode(t.Context(), cfg, new(actorkittest.Recorder))
			require.ErrorIs(t, err, actorkit.ErrInvalidConfig)
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err := actorkit.StartNode(t.Context(), good, nil)
	require.ErrorIs(t, err, actorkit.ErrInvalidConfig)
}

// Not parallel: it looks at the process's environment.
func TestFilesStayInTheDataDirectory(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	data := t.TempDir()
	stale := filepath.Join(data, "goakt", "s-n_2f1", ".goakt", "cluster", "peers-stale.db")
	require.NoError(t, os.MkdirAll(filepath.Dir(stale), 0o700))
	require.NoError(t, os.WriteFile(stale, nil, 0o600))
	n := actorkittest.StartNode(t, "s", new(actorkittest.Recorder), func(c *actorkit.NodeConfig) {
		c.System, c.Node, c.DataDir = "s", "n/1", data
	})
	require.Equal(t, home, os.Getenv("HOME"))
	require.NoFileExists(t, stale)
	files, err := filepath.Glob(filepath.Join(filepath.Dir(stale), "*.db"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	actorkittest.StopNode(t, n)
	left, err := os.ReadDir(home)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestTakenPort(t *testing.T) {
	t.Parallel()
	other := actorkittest.StartNode(t, "other", new(actorkittest.Recorder))
	_, err := actorkit.StartNode(t.Context(), actorkit.NodeConfig{
		System: "s", Node: "n", DataDir: t.TempDir(),
		RemotingPort: other.Self().RemotingPort, DiscoveryPort: 19_998, PeersPort: 19_999,
	}, new(actorkittest.Recorder))
	require.ErrorContains(t, err, "address already in use")
}

func TestNodesOfOneSystemFormACluster(t *testing.T) {
	t.Parallel()
	a := actorkittest.StartNode(t, "a", new(actorkittest.Recorder), func(c *actorkit.NodeConfig) { c.System = "one" })
	members, err := a.Members(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{a.DiscoveryAddr()}, members)
	b := actorkittest.StartNode(t, "b", new(actorkittest.Recorder), func(c *actorkit.NodeConfig) {
		c.System, c.Seeds = "one", []string{a.DiscoveryAddr()}
	})
	actorkittest.WaitMembers(t, a, b)
	// Links work within a cluster as well.
	actorkittest.Mesh(t, a, b)
	require.NoError(t, a.Send("b", numbered(1)))
}

func TestStartIsGivenUpWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := actorkit.StartNode(ctx, actorkit.NodeConfig{System: "s", Node: "n", DataDir: t.TempDir()}, new(actorkittest.Recorder))
	require.ErrorIs(t, err, context.Canceled)
	_, err = actorkit.StartLocal(ctx, "s", nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestSelf(t *testing.T) {
	t.Parallel()
	n := actorkittest.StartNode(t, "n", new(actorkittest.Recorder), func(c *actorkit.NodeConfig) { c.Service = "rooms" })
	self := n.Self()
	require.Equal(t, "n", self.Node)
	require.Equal(t, "rooms", self.Service)
	require.NotEmpty(t, self.Incarnation)
	require.Positive(t, self.RemotingPort)
	c, err := net.Dial("tcp", net.JoinHostPort(self.Host, strconv.Itoa(self.RemotingPort)))
	require.NoError(t, err)
	require.NoError(t, c.Close())
}
