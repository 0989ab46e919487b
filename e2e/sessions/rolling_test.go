package sessions

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/sdk/go"
)

// talker publishes to a room and reads it, with the SDK and both gateways' addresses.
type talker struct {
	name   string
	client *parley.Client
	room   *parley.Room
	// moved counts the sessions after the first.
	moved atomic.Int64

	published int
	failed    error
	got       []parley.Message
}

// S1–S5, L1, L5: both gateways are restarted one after the other under load. Clients of sdk/go see no error, no gap and no
// repeat, and each gateway ends in good order: not ready and closed to newcomers at once, gone within its bound.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	const rooms, each = 3, 5
	var talkers []*talker
	for r := range rooms {
		for i := range each {
			talkers = append(talkers, newTalker(ctx, t, d, fmt.Sprintf("room-%d", r), fmt.Sprintf("%d-%d", r, i)))
		}
	}
	publishing, stop := context.WithCancel(ctx)
	var publishers sync.WaitGroup
	for _, k := range talkers {
		publishers.Go(func() { k.publish(publishing) })
	}
	for _, g := range d.gateways {
		wait(t, 2*time.Second)
		restart(t, g)
	}
	wait(t, 2*time.Second)
	stop()
	publishers.Wait()

	total := map[string]int{}
	for _, k := range talkers {
		require.NoError(t, k.failed, "a publish of %s", k.name)
		require.NoError(t, k.client.Err())
		require.Positive(t, k.moved.Load(), "%s has moved", k.name)
		require.Positive(t, k.published)
		total[k.room.ID()] += k.published
	}
	var readers sync.WaitGroup
	problems := make(chan error, len(talkers))
	for _, k := range talkers {
		readers.Go(func() { problems <- k.read(ctx, total[k.room.ID()]) })
	}
	readers.Wait()
	for range talkers {
		require.NoError(t, <-problems)
	}
	for i, k := range talkers {
		first := talkers[i-i%each]
		require.Equal(t, contents(first.got), contents(k.got), "S2: all of a room read the same")
		seen := map[string]int{}
		for n, m := range k.got {
			if n > 0 {
				require.Equal(t, k.got[n-1].Seq, m.PrevSeq, "S5: %s has a gap or a repeat", k.name)
			}
			var who string
			var number int
			_, err := fmt.Sscanf(m.Content, "%s %d", &who, &number)
			require.NoError(t, err)
			require.Equal(t, seen[who], number, "S1, S3, S4: of %s", who)
			seen[who]++
		}
		require.Len(t, seen, each)
	}
	t.Logf("%v messages", total)
}

func newTalker(ctx context.Context, t *testing.T, d *deployment, room, name string) *talker {
	t.Helper()
	k := &talker{name: name}
	k.moved.Store(-1)
	var err error
	k.client, err = parley.Dial(ctx, d.gateways[0].WebSocket()+","+d.gateways[1].WebSocket(), parley.Config{
		OnSession: func(parley.Session) { k.moved.Add(1) },
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, k.client.Close(context.WithoutCancel(ctx))) })
	zero := uint64(0)
	k.room, err = k.client.Join(ctx, room, parley.JoinOptions{AfterSeq: &zero, Buffer: 1 << 16})
	require.NoError(t, err)
	return k
}

// publish publishes at a steady pace until ctx ends, and waits for all answers.
func (k *talker) publish(ctx context.Context) {
	var pending []*parley.Pending
	for ctx.Err() == nil {
		p, err := k.room.PublishAsync(context.WithoutCancel(ctx), fmt.Sprintf("%s %d", k.name, k.published), parley.PublishOptions{})
		if err != nil {
			k.failed = err
			return
		}
		k.published++
		pending = append(pending, p)
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	for _, p := range pending {
		if _, err := p.Wait(); err != nil && k.failed == nil {
			k.failed = err
		}
	}
}

func (k *talker) read(ctx context.Context, n int) error {
	for m, err := range k.room.Messages(ctx) {
		if err != nil {
			return fmt.Errorf("%s reads after %d of %d: %w", k.name, len(k.got), n, err)
		}
		if k.got = append(k.got, m); len(k.got) == n {
			return nil
		}
	}
	return nil
}

func contents(messages []parley.Message) []string {
	out := make([]string, len(messages))
	for i, m := range messages {
		out[i] = m.Content
	}
	return out
}

// restart drains a gateway as an orchestrator does, watches what it says meanwhile, and starts it again.
func restart(t *testing.T, g *harness.Node) {
	t.Helper()
	ended := make(chan struct{})
	var watched sync.WaitGroup
	var unready, refused []time.Duration
	var retryAfter string
	begun := time.Now()
	watched.Go(func() {
		for {
			select {
			case <-ended:
				return
			case <-time.After(10 * time.Millisecond):
			}
			if ok, why := g.Readiness(context.Background()); !ok && why != "" {
				unready = append(unready, time.Since(begun))
			}
			if status, after := knock(context.Background(), g); status == http.StatusServiceUnavailable {
				refused = append(refused, time.Since(begun))
				retryAfter = after
			}
		}
	})
	err := g.Term(40 * time.Second)
	took := time.Since(begun)
	close(ended)
	watched.Wait()
	require.NoError(t, err, "L5")
	require.NotEmpty(t, unready, "readyz says so")
	require.NotEmpty(t, refused, "newcomers are refused")
	require.Less(t, slices.Min(unready), 2*time.Second, "at once, as far as a busy machine can see")
	require.Less(t, slices.Min(refused), 2*time.Second)
	seconds, err := strconv.Atoi(retryAfter)
	require.NoError(t, err)
	require.Positive(t, seconds)
	t.Logf("%s drained in %s", g.Name, took.Round(10*time.Millisecond))
	g.Start()
	ready(t, g)
}

// knock begins a handshake and returns the status, 0 when nobody answers.
func knock(ctx context.Context, g *harness.Node) (status int, retryAfter string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL()+"/ws", nil)
	if err != nil {
		return 0, ""
	}
	req.Header.Set("Upgrade", "websocket")
	req.Header.Set("Connection", "Upgrade")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, ""
	}
	_ = res.Body.Close()
	return res.StatusCode, res.Header.Get("Retry-After")
}
