package rooms

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	journalmemory "github.com/parley-rt/parley/libs/persistence/memory"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/names"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// S7: a room's journal loses what the room had acknowledged before it went idle. Whoever resumes with a cursor of before is
// told, also when the room has got as many messages again meanwhile; readers of the room are told by its incarnation.
func TestLostTailIsAnnounced(t *testing.T) {
	t.Parallel()
	backend := journalmemory.New(journalmemory.Options{})
	b := setup(t, backend, func(c *Config) { c.IdleAfter = 50 * time.Millisecond })
	joined := b.gw.join("rooms-1", "lobby", "ada")
	b.gw.join("rooms-1", "lobby", "bob")
	b.gw.publish("rooms-1", "lobby", "ada", "m1", "m2", "m3", "m4", "m5")
	passivated(t, b, "lobby")

	key := persistence.StreamKey(names.RoomStream("lobby"))
	backend.Lose(key, 2)
	outcomes := b.gw.publish("rooms-1", "lobby", "bob", "n1", "n2", "n3")
	require.EqualValues(t, 5, outcomes[2].Seq, "the seqs of what was lost are given again")

	resume := func(operation uint64, incarnation uint64) *roomv1.Joined {
		answer := b.gw.ask("rooms-1", "lobby", joinFrame("ada", "s-ada", operation, &roomv1.Cursor{AfterSeq: 4, Incarnation: incarnation}))
		require.NotNil(t, answer.GetJoined(), "join answered by %v", answer)
		return answer.GetJoined()
	}
	told := resume(2, joined.Incarnation)
	require.NotEqual(t, joined.Incarnation, told.Incarnation)
	require.EqualValues(t, clientv1.ResetReason_RESET_REASON_REWOUND, told.ResetReason)
	require.False(t, told.Recovered)
	require.EqualValues(t, 5, told.Cursor, "and goes on at the head")
	subscribed := b.gw.subscribe("rooms-1", "lobby")
	require.Equal(t, told.Incarnation, subscribed.Incarnation)

	require.True(t, resume(3, told.Incarnation).Recovered, "told once")
}
