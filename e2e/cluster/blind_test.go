package cluster

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/sdk/go"
)

// L3: a rooms node that has lost the journal, and nothing else, keeps no room from those who join: neither rooms that nobody has
// used yet nor rooms that it runs.
func TestRoomsNodeWithoutJournalIsPassedOver(t *testing.T) {
	t.Parallel()
	postgres := harness.StartCluster(t)
	harness.Migrate(t, postgres.URL())
	nats := harness.NewNATS(t)
	nats.Start()
	d := &harness.Deployment{JournalURL: postgres.URL(), ControlPlaneURL: nats.URL()}
	gateways, rooms := d.NewNodes(t, harness.Gateway, 2), d.NewNodes(t, harness.Rooms, 2)
	direct, err := url.Parse(postgres.URL())
	require.NoError(t, err)
	w := newWire(t, direct.Host)
	direct.Host = w.addr()
	rooms[0].Start()
	rooms[1].StartWith("PARLEY_JOURNAL_URL=" + direct.String())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, n := range gateways {
		n.Start()
	}
	for _, n := range append(gateways, rooms...) {
		require.NoError(t, n.AwaitReady(ctx))
	}
	join := func(g *harness.Node, room string) error {
		client, err := parley.Dial(ctx, g.WebSocket(), parley.Config{})
		require.NoError(t, err)
		defer func() { require.NoError(t, client.Close(context.WithoutCancel(ctx))) }()
		joinCtx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err = client.Join(joinCtx, room, parley.JoinOptions{})
		return err
	}
	const each = 8
	for i := range each {
		require.NoError(t, join(gateways[0], fmt.Sprint("used-", i)))
	}

	w.cut()
	require.Eventually(t, func() bool {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, rooms[1].OpsURL()+"/readyz?verbose", nil)
		require.NoError(t, err)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return false
		}
		defer func() { _ = answer.Body.Close() }()
		text, err := io.ReadAll(answer.Body)
		return err == nil && strings.Contains(string(text), "journal cannot be asked who owns the rooms")
	}, patience, 100*time.Millisecond)
	for i := range each {
		for _, room := range []string{fmt.Sprint("new-", i), fmt.Sprint("used-", i)} {
			require.NoError(t, join(gateways[1], room), room)
		}
	}
}

// wire passes bytes on to an address until it is cut.
type wire struct {
	listener net.Listener
	mu       sync.Mutex
	open     []net.Conn
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &wire{listener: l}
	t.Cleanup(w.cut)
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			w.mu.Lock()
			w.open = append(w.open, near, far)
			w.mu.Unlock()
			for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
				go func() {
					_, _ = io.Copy(way[0], way[1])
					_, _ = way[0].Close(), way[1].Close()
				}()
			}
		}
	}()
	return w
}

func (w *wire) addr() string { return w.listener.Addr().String() }

func (w *wire) cut() {
	_ = w.listener.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.open {
		_ = c.Close()
	}
}
