package admin

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	sdk "github.com/parley-rt/parley/sdk/go"
)

// A member that is blocked through a rooms node that is killed right after its answer is out at both gateways within a second or so,
// the other member stays, and a frozen gateway does it after its return. It comes in nowhere until the block ends.
func TestBlockedMemberIsOutEverywhere(t *testing.T) {
	t.Parallel()
	postgres, nats := harness.StartCluster(t), harness.NewNATS(t)
	nats.Start()
	harness.Migrate(t, postgres.URL())
	d := &harness.Deployment{JournalURL: postgres.URL(), ControlPlaneURL: nats.URL()}
	auth := []string{"PARLEY_AUTH_MODE=jwt", "PARLEY_AUTH_HMAC_SECRET=" + secret}
	gateways, rooms := d.NewNodes(t, harness.Gateway, 2, auth...), d.NewNodes(t, harness.Rooms, 2, auth...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	nodes := append(append([]*harness.Node(nil), gateways...), rooms...)
	for _, n := range nodes {
		n.Start()
	}
	for _, n := range nodes {
		require.NoError(t, n.AwaitReady(ctx))
	}
	signs := []string{"PARLEY_AUTH_HMAC_SECRET=" + secret}
	admin := []string{"PARLEY_TOKEN=" + strings.TrimSpace(must(t, signs, "token", "--admin", "--subject", "ops"))}
	tokens := map[string]string{}
	for _, m := range []string{"eve", "ada"} {
		tokens[m] = strings.TrimSpace(must(t, signs, "token", "--member", m))
	}
	try := func(at *harness.Node, who string) (*sdk.Client, error) {
		return sdk.Dial(ctx, at.WebSocket(), sdk.Config{GetToken: func(context.Context) (string, error) { return tokens[who], nil }})
	}
	dial := func(at *harness.Node, who string) *sdk.Client {
		c, err := try(at, who)
		require.NoError(t, err)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			_ = c.Close(ctx)
		})
		return c
	}
	out := func(c *sdk.Client, from time.Time, within time.Duration) {
		t.Helper()
		select {
		case <-c.Done():
		case <-time.After(within + slack):
			require.FailNow(t, "a blocked member is still connected")
		}
		require.ErrorIs(t, c.Err(), sdk.CloseBanned)
		t.Logf("out after %s", time.Since(from))
	}
	evil := []*sdk.Client{dial(gateways[0], "eve"), dial(gateways[1], "eve")}
	good := []*sdk.Client{dial(gateways[0], "ada"), dial(gateways[1], "ada")}

	must(t, admin, "member", "block", "eve", "--reason", "spam", "--api", rooms[0].URL())
	rooms[0].Kill9()
	answered := time.Now()
	for _, c := range evil {
		out(c, answered, time.Second)
	}
	for _, g := range gateways {
		_, err := try(g, "eve")
		require.ErrorIs(t, err, sdk.CloseBanned)
	}
	require.Contains(t, must(t, admin, "member", "blocked", "--api", rooms[1].URL()), "ops")

	must(t, admin, "member", "unblock", "eve", "--api", rooms[1].URL())
	back := dial(gateways[0], "eve")
	gateways[0].Freeze()
	must(t, admin, "member", "block", "eve", "--for", "1h", "--api", rooms[1].URL())
	thawed := time.Now()
	gateways[0].Thaw()
	out(back, thawed, 2*time.Second)

	for _, c := range good {
		select {
		case <-c.Done():
			require.NoError(t, errors.Join(errors.New("the other member was put out, too"), c.Err()))
		default:
		}
	}
}
