// Package cluster runs gateways and rooms nodes as separate processes, as an operator does.
package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/sdk/go"
)

// patience bounds every wait, on a machine that builds and tests other things at the same time.
const patience = 2 * time.Minute

// piece is something that an operator starts.
type piece struct {
	name  string
	start func()
}

// Whatever order the parts of a deployment are started in, they find each other, and messages cross.
func TestStartOrderDoesNotMatter(t *testing.T) {
	postgres := harness.StartCluster(t)
	harness.Migrate(t, postgres.URL())
	postgres.Kill9()
	nats := harness.NewNATS(t)
	d := &harness.Deployment{JournalURL: postgres.URL(), ControlPlaneURL: nats.URL()}
	gateways, rooms := d.NewNodes(t, harness.Gateway, 2), d.NewNodes(t, harness.Rooms, 3)
	nodes := append(append([]*harness.Node(nil), gateways...), rooms...)

	pieces := []piece{{"postgres", postgres.Start}, {"nats", nats.Start}}
	for _, n := range nodes {
		pieces = append(pieces, piece{n.Name, n.Start})
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("PARLEY_E2E_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("PARLEY_E2E_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, seed))

	// The order that would be worst for one who needs everything at once, then some others.
	orders := [][]piece{append(append([]piece(nil), pieces[2:]...), pieces[1], pieces[0])}
	for range 2 {
		order := append([]piece(nil), pieces...)
		random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		orders = append(orders, order)
	}
	for i, order := range orders {
		var names []string
		for _, p := range order {
			names = append(names, p.name)
			p.start()
			// Long enough for the process to look around and find nobody there.
			pause(t, time.Duration(200+random.IntN(1500))*time.Millisecond)
		}
		t.Log("started in the order", names)
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		for _, n := range nodes {
			require.NoError(t, n.AwaitReady(ctx))
		}
		t.Log("ready", time.Since(begin))
		converse(ctx, t, gateways, fmt.Sprintf("order-%d", i))
		t.Log("conversed", time.Since(begin))
		cancel()
		for _, n := range nodes {
			n.Kill9()
		}
		if i < len(orders)-1 {
			nats.Kill9()
			postgres.Kill9()
		}
	}
}

// converse has a member on each gateway publish to some rooms and read what the others publish: with several rooms, every rooms
// node has some of them.
func converse(ctx context.Context, t *testing.T, gateways []*harness.Node, prefix string) {
	t.Helper()
	const rooms, each = 9, 5
	for r := range rooms {
		name := fmt.Sprintf("%s-room-%d", prefix, r)
		var joined []*parley.Room
		for _, g := range gateways {
			client, err := parley.Dial(ctx, g.WebSocket(), parley.Config{})
			require.NoError(t, err)
			defer func() { require.NoError(t, client.Close(context.WithoutCancel(ctx))) }()
			room, err := client.Join(ctx, name, parley.JoinOptions{})
			require.NoError(t, err)
			joined = append(joined, room)
		}
		for i, room := range joined {
			for m := range each {
				_, err := room.Publish(ctx, fmt.Sprintf("%d/%d", i, m), parley.PublishOptions{})
				require.NoError(t, err)
			}
		}
		var want []string
		for i := range joined {
			for m := range each {
				want = append(want, fmt.Sprintf("%d/%d", i, m))
			}
		}
		for _, room := range joined {
			var got []string
			for message, err := range room.Messages(ctx) {
				require.NoError(t, err)
				if got = append(got, message.Content); len(got) == len(want) {
					break
				}
			}
			require.Equal(t, want, got, "S1, S2, S5 in %s", name)
		}
	}
}

func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
