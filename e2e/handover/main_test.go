// Package handover shows that rooms change their nodes without their clients noticing: gateways and rooms nodes as separate
// processes, on Postgres and NATS, and clients that know nothing of resuming or trying again.
package handover

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/e2e/wire"
)

// patience bounds every wait, on a machine that builds and tests other things at the same time.
const patience = 2 * time.Minute

func ready(t *testing.T, nodes ...*harness.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, n := range nodes {
		require.NoError(t, n.AwaitReady(ctx))
	}
}

// talker is a client in one room that publishes all the time, at most one message unanswered.
type talker struct {
	conn *wire.Conn
	room string
	name string
	// started is the cursor before the first message.
	started uint64

	acked   []acked
	trouble []string
}

type acked struct {
	id   string
	seq  uint64
	took time.Duration
}

func newTalker(t *testing.T, gateway *harness.Node, room, name string) *talker {
	t.Helper()
	k := &talker{conn: wire.MustDial(t, gateway.WebSocket()), room: room, name: name}
	k.conn.Sendf(`{"join_room":{"room_id":%q}}`, room)
	k.started = k.conn.Expect("room_joined").Uint("seq")
	return k
}

// talk publishes until ctx ends. Anything but an acknowledgement is trouble.
func (k *talker) talk(ctx context.Context, every time.Duration) {
	looked := 0
	for n := 0; ctx.Err() == nil; n++ {
		id := fmt.Sprint(k.name, "-", n)
		began := time.Now()
		if err := k.conn.TrySend(fmt.Sprintf(`{"message":{"target":%q,"content":%q,"message_id":%q}}`, k.room, id, id)); err != nil {
			k.trouble = append(k.trouble, err.Error())
			return
		}
		for answered := false; !answered; {
			if time.Since(began) > patience {
				k.trouble = append(k.trouble, "no answer to "+id)
				return
			}
			<-time.After(2 * time.Millisecond)
			frames := k.conn.Frames()
			for _, f := range frames[looked:] {
				looked++
				switch {
				case f.Kind == "ack" && f.String("message_id") == id:
					k.acked = append(k.acked, acked{id, f.Uint("seq"), time.Since(began)})
					answered = true
				case f.Kind != "message" && f.Kind != "ack" && f.Kind != "session" && f.Kind != "room_joined":
					k.trouble = append(k.trouble, f.Text)
					return
				}
			}
		}
		select {
		case <-time.After(every):
		case <-ctx.Done():
		}
	}
}

// choir is talkers at work.
type choir struct {
	talkers []*talker
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

func sing(t *testing.T, gateways []*harness.Node, rooms int, every time.Duration) *choir {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &choir{cancel: cancel}
	t.Cleanup(c.stop)
	for r := range rooms {
		for g, gateway := range gateways {
			c.talkers = append(c.talkers, newTalker(t, gateway, fmt.Sprint("room-", r), fmt.Sprintf("%d-%d", r, g)))
		}
	}
	for _, k := range c.talkers {
		c.done.Go(func() { k.talk(ctx, every) })
	}
	return c
}

func (c *choir) stop() {
	c.cancel()
	c.done.Wait()
}

// verify stops the choir and checks what its members were told: acknowledgements and nothing else (L1), each message at its
// seq and once, everybody's in their order, and the same to all without a gap (S1–S5).
func (c *choir) verify(t *testing.T) {
	t.Helper()
	c.stop()
	heads := map[string]uint64{}
	for _, k := range c.talkers {
		require.Empty(t, k.trouble, "%s in %s", k.name, k.room)
		require.NotEmpty(t, k.acked)
		heads[k.room] = max(heads[k.room], k.acked[len(k.acked)-1].seq)
	}
	histories := map[string]map[uint64]string{}
	for _, k := range c.talkers {
		k.conn.Await("message", func(f wire.Frame) bool { return f.Uint("seq") == heads[k.room] })
		history := histories[k.room]
		if history == nil {
			history = map[uint64]string{}
			histories[k.room] = history
		}
		cursor, own := k.started, 0
		for _, f := range k.conn.Frames() {
			if f.Kind != "message" {
				continue
			}
			require.Equal(t, cursor, f.Uint("prev_seq"), "%s has a gap or a repeat at %s", k.name, f.Text)
			cursor = f.Uint("seq")
			if known, ok := history[cursor]; ok {
				require.Equal(t, known, f.String("message_id"))
			}
			history[cursor] = f.String("message_id")
			if strings.HasPrefix(f.String("message_id"), k.name+"-") {
				require.Equal(t, k.acked[own].id, f.String("message_id"))
				require.Equal(t, k.acked[own].seq, cursor)
				own++
			}
		}
		require.Len(t, k.acked, own)
	}
}

// worst returns the longest acknowledgement of each talker, shortest first.
func (c *choir) worst() []time.Duration {
	var all []time.Duration
	for _, k := range c.talkers {
		longest := time.Duration(0)
		for _, a := range k.acked {
			longest = max(longest, a.took)
		}
		all = append(all, longest)
	}
	slices.Sort(all)
	return all
}

// givenAway is the line that a node logs when it has given rooms to others. Pauses are in seconds.
type givenAway struct {
	Message  string  `json:"msg"`
	Moved    int     `json:"moved"`
	Released int     `json:"released"`
	PauseP50 float64 `json:"pause_p50"`
	PauseP99 float64 `json:"pause_p99"`
}

// moves returns what a node says in its log about rooms that it gave away.
func moves(n *harness.Node) []givenAway {
	var all []givenAway
	for line := range strings.Lines(n.Log()) {
		var g givenAway
		if json.Unmarshal([]byte(line), &g) == nil && (g.Message == "rooms given away" || g.Message == "rooms moved to nodes that joined") {
			all = append(all, g)
		}
	}
	return all
}
