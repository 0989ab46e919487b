package rooms

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	journalmemory "github.com/parley-rt/parley/libs/persistence/memory"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// weighed notes what the pages weigh that are read back.
type weighed struct {
	persistence.Backend
	mu            sync.Mutex
	largest, seen int
}

func (w *weighed) ReadReverse(ctx context.Context, key persistence.StreamKey, before uint64, limit int) ([]persistence.Event, error) {
	events, err := w.Backend.ReadReverse(ctx, key, before, limit)
	bytes := 0
	for _, e := range events {
		bytes += len(e.Payload)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.largest, w.seen = max(w.largest, bytes), w.seen+len(events)
	return events, err
}

// A room that comes back reads the events of the last two minutes, however large, without holding many at a time.
func TestRecoveryIsBoundedByBytes(t *testing.T) {
	t.Parallel()
	backend := &weighed{Backend: journalmemory.New(journalmemory.Options{})}
	b := setup(t, backend, func(c *Config) { c.IdleAfter = 50 * time.Millisecond })
	b.gw.join("rooms-1", "lobby", "ada")
	content := strings.Repeat("x", 60<<10)
	const messages = 200
	var pending []<-chan *roomv1.Frame
	for n := range messages {
		pending = append(pending, b.gw.start("rooms-1", "lobby", &roomv1.Frame{Kind: &roomv1.Frame_Publish{Publish: &roomv1.Publish{
			MemberId: "ada", Drafts: []*roomv1.Draft{{MessageId: fmt.Sprint(n), Content: content}},
		}}}))
		if n%20 == 19 { // less than what a room queues
			for _, answer := range pending {
				require.NotNil(t, b.gw.await(answer).GetPublished())
			}
			pending = nil
		}
	}
	passivated(t, b, "lobby")
	outcomes := b.gw.publish("rooms-1", "lobby", "ada", "0")
	require.True(t, outcomes[0].Duplicate)
	require.EqualValues(t, 1, outcomes[0].Seq)
	backend.mu.Lock()
	defer backend.mu.Unlock()
	require.GreaterOrEqual(t, backend.seen, messages)
	require.LessOrEqual(t, backend.largest, 2<<20)
}
