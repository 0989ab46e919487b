package rooms

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/parley-rt/parley/libs/persistence"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// A retention by number holds at once for pages and cursors, whatever the stream still has; one by age is looked up in the
// journal's times, and at a start before anybody reads.
func TestRetention(t *testing.T) {
	t.Parallel()
	eachBackend(t, testRetention)
}

func testRetention(t *testing.T, backend persistence.Backend) {
	var ahead atomic.Int64
	clock := func(c *Config) { c.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) } }
	m := setupModerated(t, backend, clock, func(c *Config) { c.IdleAfter = 50 * time.Millisecond })
	m.gw.join("rooms-1", "lobby", "ada")
	m.gw.publish("rooms-1", "lobby", "ada", "m1", "m2", "m3", "m4")
	count := uint64(2)
	m.rule(&roomv1.ChangeSettings{RetentionCount: &count}) // seq 5
	require.Equal(t, uint64(3), m.describe().Trimmed)
	page := m.gw.ask("rooms-1", "lobby", readFrame(&roomv1.Read{})).GetPage()
	require.Equal(t, uint64(3), page.Trimmed)
	require.Len(t, page.Messages, 1)
	require.False(t, page.More)
	joined := m.gw.ask("rooms-1", "lobby", joinFrame("ada", "s-ada", 2, &roomv1.Cursor{AfterSeq: 1})).GetJoined()
	require.Equal(t, int32(clientv1.ResetReason_RESET_REASON_TRIMMED), joined.ResetReason)
	require.Equal(t, uint64(3), joined.Cursor)

	zero := uint64(0)
	m.rule(&roomv1.ChangeSettings{RetentionCount: &zero, RetentionAge: durationpb.New(time.Hour)}) // seq 6
	m.gw.publish("rooms-1", "lobby", "ada", "m5", "m6")
	require.Equal(t, uint64(3), m.describe().Trimmed, "what is gone stays gone, and nothing has come of age")
	ahead.Store(int64(2 * time.Hour))
	require.Eventually(t, func() bool { return m.describe().Trimmed == 8 }, patience, 20*time.Millisecond)
	require.Empty(t, m.gw.ask("rooms-1", "lobby", readFrame(&roomv1.Read{})).GetPage().GetMessages())

	m.rule(&roomv1.ChangeSettings{RetentionAge: durationpb.New(10 * time.Hour)}) // seq 9
	m.gw.publish("rooms-1", "lobby", "ada", "m7")
	require.Equal(t, uint64(8), m.describe().Trimmed)
	ahead.Store(int64(20 * time.Hour))
	passivated(t, m.bundle, "lobby")
	page = m.gw.ask("rooms-1", "lobby", readFrame(&roomv1.Read{})).GetPage()
	require.Equal(t, uint64(10), page.Trimmed)
	require.Empty(t, page.Messages)
	require.True(t, m.gw.publish("rooms-1", "lobby", "ada", "m7")[0].Duplicate, "S3: gone for readers, known to the room")
}

// S3: a stream that is trimmed for its retention keeps what the next activation must recognise.
func TestTrimmedStreamKeepsItsIDs(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	m := setupModerated(t, nil, func(c *Config) {
		c.IdleAfter = 50 * time.Millisecond
		c.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	m.gw.join("rooms-1", "lobby", "ada")
	m.gw.subscribe("rooms-1", "lobby")
	const batches, size = 30, 100
	for n := range batches {
		ids := make([]string, size)
		for i := range ids {
			ids[i] = fmt.Sprint(n, "-", i)
		}
		m.gw.publish("rooms-1", "lobby", "ada", ids...)
	}
	trimmed := func() uint64 {
		head, err := m.backend.Head(t.Context(), lobbyStream)
		require.NoError(t, err)
		return head.TrimSeq
	}
	one := uint64(1)
	m.rule(&roomv1.ChangeSettings{RetentionCount: &one})
	require.Equal(t, uint64(batches*size), m.describe().Trimmed)
	require.Zero(t, trimmed(), "all of it is young")
	ahead.Store(int64(5 * time.Minute))
	require.Eventually(t, func() bool { return trimmed() == batches*size+1-1024 }, patience, 20*time.Millisecond)
	require.NoError(t, m.gw.send("rooms-1", &roomv1.Frame{RoomId: "lobby", Kind: &roomv1.Frame_Unsubscribe{Unsubscribe: &roomv1.Unsubscribe{}}}))
	passivated(t, m.bundle, "lobby")
	last := fmt.Sprint(batches-1, "-", size-1)
	require.True(t, m.gw.publish("rooms-1", "lobby", "ada", last)[0].Duplicate)
	require.Empty(t, m.gw.ask("rooms-1", "lobby", readFrame(&roomv1.Read{})).GetPage().GetMessages())
}
