package rooms

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/names"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/rooms/internal/room/core"
)

// follower sends requests for one room as a gateway does: it follows Moved at once, asks the next node when the Link to one is
// down, and another one after 2 s of silence. What a client would get to see is returned.
type follower struct {
	g     *fakeGateway
	room  string
	node  string
	nodes []string
	// passing counts refusals that clients do not see, because a gateway sends the request again.
	passing int
}

func (f *follower) other() string {
	i := slices.Index(f.nodes, f.node)
	return f.nodes[(i+1)%len(f.nodes)]
}

// ask returns the answer, or an error when there was none within 5 s (L1).
func (f *follower) ask(request func() *roomv1.Frame) (*roomv1.Frame, error) {
	deadline := time.Now().Add(5 * time.Second)
	for hops := 0; time.Now().Before(deadline); hops++ {
		if hops > 3 {
			<-time.After(20 * time.Millisecond)
		}
		ch, err := f.g.request(pending{node: f.node, lossy: true}, f.room, request())
		if err != nil {
			f.node = f.other()
			continue
		}
		var answer *roomv1.Frame
		select {
		case answer = <-ch:
		case <-time.After(2 * time.Second):
			f.node = f.other()
			continue
		}
		switch k := answer.GetKind().(type) {
		case nil: // the Link went down
			f.node = f.other()
		case *roomv1.Frame_Moved:
			if owner := k.Moved.Owner; slices.Contains(f.nodes, owner) {
				f.node = owner
			} else {
				f.node = f.other()
			}
		case *roomv1.Frame_Refused:
			code := clientv1.ErrorCode(k.Refused.Code)
			if code != clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE && code != clientv1.ErrorCode_ERROR_CODE_UNKNOWN_OUTCOME {
				return answer, nil
			}
			f.passing++
			<-time.After(time.Duration(k.Refused.RetryAfterMs) * time.Millisecond)
		default:
			return answer, nil
		}
	}
	return nil, fmt.Errorf("no answer about %s", f.room)
}

// publisher publishes one message after the other into a room and notes what it was told.
type publisher struct {
	follower
	member string
	acked  []ack
	errs   []error
	every  time.Duration
}

type ack struct {
	id   string
	seq  uint64
	at   time.Time
	took time.Duration
	node string
}

func (p *publisher) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		id := fmt.Sprint(p.member, "-", n)
		began := time.Now()
		answer, err := p.ask(func() *roomv1.Frame { return publishFrame(p.member, id) })
		switch {
		case err != nil:
			p.errs = append(p.errs, err)
		case answer.GetPublished() == nil || answer.GetPublished().Outcomes[0].Refused != nil:
			p.errs = append(p.errs, errors.New(answer.String()))
		default:
			p.acked = append(p.acked, ack{
				id: id, seq: answer.GetPublished().Outcomes[0].Seq, at: time.Now(), took: time.Since(began), node: p.node,
			})
		}
		select {
		case <-time.After(p.every):
		case <-ctx.Done():
		}
	}
}

// traffic is publishers at work.
type traffic struct {
	publishers []*publisher
	cancel     context.CancelFunc
	done       sync.WaitGroup
}

// startTraffic lets a member publish in each of the rooms, which it has joined.
func startTraffic(t testing.TB, g *fakeGateway, member string, roomIDs []string, node string, nodes []string, every time.Duration) *traffic {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	tr := &traffic{cancel: cancel}
	t.Cleanup(func() { tr.stop() })
	for _, id := range roomIDs {
		p := &publisher{follower: follower{g: g, room: id, node: node, nodes: nodes}, member: member, every: every}
		tr.publishers = append(tr.publishers, p)
		tr.done.Go(func() { p.run(ctx) })
	}
	return tr
}

func (tr *traffic) stop() []*publisher {
	tr.cancel()
	tr.done.Wait()
	return tr.publishers
}

// verify holds what publishers were told against the journal: everything acknowledged is there once, in the publisher's
// order and at the seq it was told (S1–S4), and nobody saw an error.
func verify(t testing.TB, backend persistence.Backend, publishers []*publisher) {
	t.Helper()
	for _, p := range publishers {
		require.Empty(t, p.errs, "clients of %s saw errors", p.room)
		require.NotEmpty(t, p.acked)
		stored := make(map[string]uint64)
		last := uint64(0)
		for _, m := range storedMessages(t, backend, p.room) {
			require.NotContains(t, stored, m.MessageId, "stored twice")
			require.Equal(t, last, m.PrevSeq)
			last = m.Seq
			stored[m.MessageId] = m.Seq
		}
		before := uint64(0)
		for _, a := range p.acked {
			require.Equal(t, a.seq, stored[a.id], "acknowledged %s in %s", a.id, p.room)
			require.Greater(t, a.seq, before)
			before = a.seq
		}
	}
}

func storedMessages(t testing.TB, backend persistence.Backend, roomID string) []*roomv1.Message {
	t.Helper()
	var messages []*roomv1.Message
	from := uint64(1)
	for {
		events, err := backend.Read(context.Background(), roomKey(roomID), from, 1000)
		require.NoError(t, err)
		if len(events) == 0 {
			return messages
		}
		for _, e := range events {
			m, err := core.MessageOf(e)
			require.NoError(t, err)
			messages = append(messages, m)
		}
		from = events[len(events)-1].Seq + 1
	}
}

func roomKey(roomID string) persistence.StreamKey {
	return persistence.StreamKey(names.RoomStream(roomID))
}

// headsOf returns the heads of rooms by their ids.
func headsOf(t testing.TB, backend persistence.Backend, roomIDs []string) map[string]persistence.Head {
	t.Helper()
	heads := make(map[string]persistence.Head)
	for _, id := range roomIDs {
		head, err := backend.Head(context.Background(), roomKey(id))
		require.NoError(t, err)
		heads[id] = head
	}
	return heads
}

func roomIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprint("r:", i)
	}
	return ids
}
