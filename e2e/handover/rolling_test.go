package handover

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
)

// S1–S5, L1, L5: all rooms nodes are restarted one after the other, and one is added, while clients publish. They see nothing
// but acknowledgements and each other's messages, and rooms end up at every node.
func TestRollingRestartOfRooms(t *testing.T) {
	t.Parallel()
	postgres := harness.StartCluster(t)
	harness.Migrate(t, postgres.URL())
	nats := harness.NewNATS(t)
	nats.Start()
	d := &harness.Deployment{JournalURL: postgres.URL(), ControlPlaneURL: nats.URL()}
	// Rooms go to nodes that join after 2 s instead of 10, and need not have rested before.
	rooms := d.NewNodes(t, harness.Rooms, 3, "PARLEY_MOVES_SETTLE_AFTER=2s", "PARLEY_MOVES_REST_FOR=1ms")
	gateways := d.NewNodes(t, harness.Gateway, 2)
	late, early := rooms[2], rooms[:2]
	for _, n := range append(append([]*harness.Node(nil), early...), gateways...) {
		n.Start()
	}
	ready(t, append(append([]*harness.Node(nil), early...), gateways...)...)

	const count = 40
	c := sing(t, gateways, count, 50*time.Millisecond)
	given := func() (joined int) {
		for _, n := range rooms {
			for _, g := range moves(n) {
				if g.Message == "rooms moved to nodes that joined" {
					joined += g.Moved
				}
			}
		}
		return joined
	}
	// join starts a node and waits until it was given its share.
	join := func(n *harness.Node) {
		before := given()
		n.Start()
		ready(t, n)
		require.Eventually(t, func() bool { return given() > before }, time.Minute, 50*time.Millisecond, "%s got no rooms", n.Name)
	}
	<-time.After(2 * time.Second) // they sing for a while
	join(late)
	for _, n := range rooms {
		began := time.Now()
		require.NoError(t, n.Term(40*time.Second), "L5")
		t.Logf("%s stopped in %s", n.Name, time.Since(began).Round(10*time.Millisecond))
		join(n)
	}
	c.verify(t)

	moved := 0
	for _, n := range rooms {
		for _, g := range moves(n) {
			moved += g.Moved
			t.Logf("%s: %s: %d moved, %d released, pause p50 %.0f ms, p99 %.0f ms", n.Name, g.Message, g.Moved, g.Released,
				1000*g.PauseP50, 1000*g.PauseP99)
		}
	}
	require.Greater(t, moved, count, "every room has moved at least once")
	worst := c.worst()
	t.Logf("the longest acknowledgement of each of %d clients: p50 %s, p99 %s, max %s", len(worst),
		worst[len(worst)/2], worst[len(worst)*99/100], worst[len(worst)-1])
}
