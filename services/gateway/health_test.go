package gateway

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/dcplane"
	dcmemory "github.com/parley-rt/parley/libs/dcplane/memory"
)

func TestProofCountsForAWhile(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	probes, outcome := 0, error(nil)
	p := &proof{now: func() time.Time { return now }, probe: func(context.Context) error { probes++; return outcome }}
	require.NoError(t, p.check(t.Context()))
	outcome = errors.New("away")
	require.NoError(t, p.check(t.Context()))
	require.Equal(t, 1, probes)
	now = now.Add(sessionsProvenFor)
	require.ErrorIs(t, p.check(t.Context()), outcome)
	outcome = nil
	require.NoError(t, p.check(t.Context()), "a failure is not kept")
	require.Equal(t, 3, probes)
}

// A node whose name another process took is not ready: rooms answer the other one.
func TestLostNameIsNotReady(t *testing.T) {
	t.Parallel()
	g := setup(t, 1)
	g.health.SetStarted()
	ok, details := g.health.Ready(t.Context())
	require.True(t, ok, "%v", details)
	later, err := g.plane.Open(t.Context(), dcmemory.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, later.Close(context.Background())) })
	_, err = later.Register(t.Context(), dcplane.Node{
		Service: ServiceName, DC: "local", Name: "gateway-1", Incarnation: "later", Host: "127.0.0.1", RemotingPort: 1, State: dcplane.StateStarting,
	})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, details := g.health.Ready(t.Context())
		for _, d := range details {
			if d.Name == "gateway-registration" && d.Err != nil {
				var superseded *dcplane.SupersededError
				return errors.As(d.Err, &superseded)
			}
		}
		return false
	}, patience, 20*time.Millisecond)
}
