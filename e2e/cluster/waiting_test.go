package cluster

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
)

// A node that waits says what for, once, and ends cleanly when it is told to; one whose journal lacks a migration does not wait
// for an operator, but names the command.
func TestWaitingAndRefusing(t *testing.T) {
	postgres, nats := harness.StartCluster(t), harness.NewNATS(t)
	d := &harness.Deployment{JournalURL: postgres.URL(), ControlPlaneURL: nats.URL()}
	node, gateway := d.NewNodes(t, harness.Rooms, 1)[0], d.NewNodes(t, harness.Gateway, 1)[0]
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	node.Start()
	require.Eventually(t, func() bool {
		running, _ := node.Running()
		return !running
	}, patience, 20*time.Millisecond, "it does not run on a journal without a schema")
	require.Error(t, node.Term(patience), "exit code 1")
	require.Contains(t, node.Log(), "parley migrate up")

	harness.Migrate(t, postgres.URL())
	waitsFor := func(check string) {
		t.Helper()
		require.Eventually(t, func() bool {
			_, why := node.Readiness(ctx)
			return strings.Contains(why, "[-]"+check+" failed: waiting for it")
		}, patience, 20*time.Millisecond)
	}
	postgres.Kill9()
	node.Start()
	waitsFor("journal")
	require.NoError(t, node.Term(patience), "SIGTERM while waiting is a clean end")
	node.Start()
	waitsFor("journal")
	postgres.Start()
	waitsFor("control-plane")
	nats.Start()
	require.NoError(t, node.AwaitReady(ctx))
	require.NoError(t, node.Term(patience))

	gateway.Start()
	require.Eventually(t, func() bool {
		ready, why := gateway.Readiness(ctx)
		return !ready && strings.Contains(why, "[-]gateway-rooms failed: no rooms node can be reached yet")
	}, patience, 20*time.Millisecond)
	node.Start()
	require.NoError(t, gateway.AwaitReady(ctx))
}
