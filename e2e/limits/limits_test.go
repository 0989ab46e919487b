// Package limits runs gateways that count a member together through Redis, and takes Redis away from them.
package limits

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/e2e/wire"
	parley "github.com/parley-rt/parley/sdk/go"
)

const (
	// patience bounds every wait, on a machine that builds and tests other things at the same time.
	patience = 2 * time.Minute
	secret   = "0123456789abcdef0123456789abcdef"

	rate, burst = 40, 40 // messages of a member
	gateways    = 2
	// span is how long a member takes all it can get. A burst and what is too much are over by then.
	span = 3 * time.Second
	// lag is what two gateways may be behind each other on a busy machine; a report takes 0.1 s, and to notice that Redis is
	// away 0.5 s.
	lag = 1.5
)

// token lets a member do everything everywhere.
func token(t *testing.T, member string) string {
	t.Helper()
	part := func(v map[string]any) string {
		text, err := json.Marshal(v)
		require.NoError(t, err)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	text := part(map[string]any{"alg": "HS256", "typ": "JWT"}) + "." + part(map[string]any{
		"sub": member, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	})
	mac := hmac.New(sha256.New, []byte(secret))
	_, err := io.WriteString(mac, text)
	require.NoError(t, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

type world struct {
	t     *testing.T
	redis *harness.Redis
	nodes []*harness.Node // the gateways
}

func start(t *testing.T) *world {
	t.Helper()
	postgres, nats, redis := harness.StartCluster(t), harness.NewNATS(t), harness.NewRedis(t)
	nats.Start()
	redis.Start()
	harness.Migrate(t, postgres.URL())
	d := &harness.Deployment{JournalURL: postgres.URL(), ControlPlaneURL: nats.URL()}
	w := &world{t: t, redis: redis}
	w.nodes = d.NewNodes(t, harness.Gateway, gateways,
		"PARLEY_AUTH_MODE=jwt", "PARLEY_AUTH_HMAC_SECRET="+secret, "PARLEY_AUTH_DEFAULT_ROOMS=*", "PARLEY_REDIS_URL="+redis.URL(),
		fmt.Sprintf("PARLEY_RATE_LIMIT_MEMBER_MESSAGES=%d:%d", rate, burst))
	rooms := d.NewNodes(t, harness.Rooms, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, n := range slices.Concat(w.nodes, rooms) {
		n.Start()
	}
	for _, n := range slices.Concat(w.nodes, rooms) {
		require.NoError(t, n.AwaitReady(ctx))
	}
	w.awaitRedis(true)
	return w
}

// metric returns the value of a series without attributes that matter here; -1: it is not there.
func (w *world) metric(n *harness.Node, name string) (value float64) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.OpsURL()+"/metrics", nil)
	require.NoError(w.t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer func() { require.NoError(w.t, res.Body.Close()) }()
	body, err := io.ReadAll(res.Body)
	require.NoError(w.t, err)
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, name+"{") || strings.HasPrefix(line, name+" ") {
			_, err := fmt.Sscan(line[strings.LastIndexByte(strings.TrimSpace(line), ' '):], &value)
			require.NoError(w.t, err)
			return value
		}
	}
	return -1
}

// awaitRedis waits until all gateways say that Redis is there, or away.
func (w *world) awaitRedis(there bool) {
	w.t.Helper()
	want := map[bool]float64{false: 0, true: 1}[there]
	for _, n := range w.nodes {
		require.Eventually(w.t, func() bool { return w.metric(n, "parley_ratelimit_redis_up") == want }, patience, 20*time.Millisecond)
	}
}

func (w *world) dial(node int, member string) *parley.Client {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	client, err := parley.Dial(ctx, w.nodes[node].WebSocket(), parley.Config{
		GetToken: func(context.Context) (string, error) { return token(w.t, member), nil },
	})
	require.NoError(w.t, err)
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = client.Close(ctx)
	})
	return client
}

func (w *world) join(c *parley.Client, room string) *parley.Room {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	r, err := c.Join(ctx, room, parley.JoinOptions{})
	require.NoError(w.t, err)
	return r
}

// flood publishes as much as it gets through in several rooms at once for a span, and says how much that was. The SDK heeds what it
// is told, so nothing fails.
func (w *world) flood(rooms []*parley.Room) (stored int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), span)
	defer cancel()
	var n atomic.Int64
	var wg sync.WaitGroup
	for _, r := range rooms {
		for range 4 {
			wg.Go(func() {
				for ctx.Err() == nil {
					if _, err := r.Publish(ctx, "more", parley.PublishOptions{}); err == nil {
						n.Add(1)
					} else if ctx.Err() == nil {
						w.t.Errorf("publish: %v", err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	return int(n.Load())
}

// modest is a member below its limit, on one gateway, that is never to be refused.
type modest struct {
	conn *wire.Conn
	took []time.Duration
	stop chan struct{}
	over chan struct{}
	mu   sync.Mutex
}

func (w *world) modest(node int) *modest {
	w.t.Helper()
	m := &modest{conn: wire.MustDial(w.t, w.nodes[node].WebSocket()+"?hello=1"), stop: make(chan struct{}), over: make(chan struct{})}
	m.conn.Sendf(`{"hello":{"token":%q}}`, token(w.t, "modest"))
	m.conn.Expect("session")
	m.conn.Sendf(`{"join_room":{"room_id":"quiet"}}`)
	m.conn.Expect("room_joined")
	go func() {
		defer close(m.over)
		tick := time.NewTicker(time.Second / (rate / 2))
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-m.stop:
				return
			case <-tick.C:
			}
			id, begin := fmt.Sprint("m", i), time.Now()
			if m.conn.TrySend(fmt.Sprintf(`{"message":{"target":"quiet","message_id":%q}}`, id)) != nil {
				return
			}
			m.conn.ExpectWhere("ack", func(f wire.Frame) bool { return f.String("message_id") == id })
			m.mu.Lock()
			m.took = append(m.took, time.Since(begin))
			m.mu.Unlock()
		}
	}()
	return m
}

// p99 since the last call.
func (m *modest) p99() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	took := slices.Sorted(slices.Values(m.took))
	m.took = nil
	if len(took) == 0 {
		return -1
	}
	return took[(len(took)-1)*99/100]
}

func (m *modest) end(t *testing.T) {
	t.Helper()
	close(m.stop)
	<-m.over
	for _, f := range m.conn.Frames() {
		require.NotEqual(t, "error", f.Kind, "refused: %v", f.Body)
	}
}

// A member that publishes through two gateways gets its limit once, within the stated bound, whatever becomes of Redis; one that stays
// below its own is never refused and does not wait for Redis; and everything goes on.
func TestMemberOverTwoGateways(t *testing.T) {
	t.Parallel()
	w := start(t)
	greedy := []*parley.Room{w.join(w.dial(0, "greedy"), "loud"), w.join(w.dial(1, "greedy"), "loud")}
	quiet := w.modest(0)

	const ideal = rate * float64(span/time.Second)
	const over = gateways * (burst + rate*lag) // S(2) = 2
	there := w.flood(greedy)
	before := quiet.p99()
	report := func(what string, stored int, bound float64) {
		t.Logf("%s: %d stored in %s, the bound is %.0f, a single gateway would take %.0f and at first %d more", what, stored, span, bound, ideal, burst)
		require.LessOrEqual(t, float64(stored), bound)
		require.GreaterOrEqual(t, float64(stored), ideal/3, "the service goes on")
	}
	report("Redis there", there, burst+ideal+over)

	w.redis.Freeze()
	frozen := w.flood(greedy) // it begins before anybody has noticed
	w.awaitRedis(false)
	report("Redis frozen", frozen, 2*(burst+ideal)+over)
	during := quiet.p99()
	w.redis.Thaw()
	w.awaitRedis(true)
	report("Redis back", w.flood(greedy), burst+ideal+over)

	w.redis.Kill9()
	report("Redis killed", w.flood(greedy), 2*(burst+ideal)+over)
	w.awaitRedis(false)
	killed := quiet.p99()
	w.redis.Start()
	w.awaitRedis(true)
	report("Redis empty", w.flood(greedy), 2*burst+ideal+over)

	quiet.end(t)
	t.Logf("p99 of a publish below the limit: before %s, Redis frozen %s, killed %s", before, during, killed)
	// A publish that waited for a frozen Redis would take 250 ms at least, each time.
	require.Less(t, during, before+500*time.Millisecond)
	require.Less(t, killed, before+500*time.Millisecond)
	for _, n := range w.nodes {
		said, lost := strings.Count(n.Log(), `"msg":"rate limit store is away`), w.metric(n, "parley_ratelimit_redis_lost_total")
		require.GreaterOrEqual(t, said, 1)
		require.GreaterOrEqual(t, lost, 2.0)
		require.LessOrEqual(t, float64(said), lost, "said once for each time")
	}
}

// A raw client that does not heed is closed with 4505, and does not come back as a herd: its address is told when to.
func TestFloodIsClosed(t *testing.T) {
	t.Parallel()
	server := harness.StartDev(t, "--rate-limits", "on")
	conn := wire.MustDial(t, server.WebSocket())
	conn.Expect("session")
	conn.Send(`{"join_room":{"room_id":"r"}}`)
	conn.Expect("room_joined")
	for i := range 20_000 {
		if conn.TrySend(fmt.Sprintf(`{"message":{"target":"r","content":"x","message_id":"m%d"}}`, i)) != nil {
			break
		}
	}
	code, err := conn.AwaitClose()
	require.Equal(t, 4505, int(code), "%v", err)
	refused := 0
	for _, f := range conn.Frames() {
		if f.Kind == "error" {
			require.Equal(t, "RATE_LIMITED", f.String("code"))
			require.Contains(t, f.Body, "retry_after_ms")
			refused++
		}
	}
	require.Greater(t, refused, 1000)
}
