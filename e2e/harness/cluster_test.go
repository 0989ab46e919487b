package harness

import (
	"net"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClusterIsKilledAndStartedAgain(t *testing.T) {
	t.Parallel()
	c := StartCluster(t)
	at, err := url.Parse(c.URL())
	require.NoError(t, err)
	listens := func() bool {
		conn, err := net.Dial("tcp", at.Host)
		if err != nil {
			return false
		}
		require.NoError(t, conn.Close())
		return true
	}
	require.True(t, listens())
	c.Kill9()
	require.False(t, listens())
	require.ErrorContains(t, c.command.tell("kill"), "does not run")
	c.Start()
	require.True(t, listens())
	c.Pause()
	c.Resume()
}

func TestClusterThatEndedIsTold(t *testing.T) {
	t.Parallel()
	c, err := startCluster()
	require.NoError(t, err)
	require.NoError(t, c.end())
	require.Error(t, c.tell("kill"))
}
