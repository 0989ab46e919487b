package persistencetest

import (
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

func retentionStream(b *bench) {
	c := b.filled("room/1", 10)
	b.snapshot(b.filled("room/2", 5), 5, "s")
	b.rotate(1)
	b.grow(c, 2)
	want := &persistence.BlockedError{Part: 0, Streams: 1, Keys: []persistence.StreamKey{"room/1"}}
	require.Equal(b, want, b.blocked(0))
	b.snapshot(c, 9, "not beyond it")
	require.Equal(b, want, b.blocked(0))
	require.Len(b, b.all("room/1"), 12, "nothing is lost by trying")
	require.ErrorContains(b, want, "room/1")
	b.snapshot(c, 10, "beyond it")
	b.dropped(0, 0)
}

func retentionManyStreams(b *bench) {
	const streams = persistence.MaxBlockedKeys + 3
	var claims []persistence.Claim
	for i := range streams {
		claims = append(claims, b.filled(persistence.StreamKey(fmt.Sprintf("room/%02d", i)), 1))
	}
	b.rotate(1)
	blocked := b.blocked(0)
	require.EqualValues(b, streams, blocked.Streams)
	require.Len(b, blocked.Keys, persistence.MaxBlockedKeys)
	for i, key := range blocked.Keys {
		require.Equal(b, claims[i].Key, key, "ascending, over all lanes")
	}
	for _, c := range claims {
		b.snapshot(c, 1, "s")
	}
	b.dropped(0, 0)
}

func retentionConsumer(b *bench) {
	c := b.filled("room/1", 10)
	b.snapshot(c, 10, "s")
	events, _ := b.lane(c.Lane, 0, 100)
	held := b.checkpoint("mail", c.Lane, "node-a")
	b.rotate(1)
	b.grow(c, 2)
	want := &persistence.BlockedError{Part: 0, Checkpoints: []string{"mail"}}
	for _, at := range []uint64{0, events[0].Pos, events[8].Pos} {
		require.NoError(b, b.SaveCheckpoint(b.Context(), held, at))
		require.Equal(b, want, b.blocked(0), "at %d", at)
	}
	require.ErrorContains(b, want, "mail")
	require.NoError(b, b.SaveCheckpoint(b.Context(), held, events[9].Pos))
	b.dropped(0, 0)
	rest, _ := b.lane(c.Lane, events[9].Pos, 100)
	require.Len(b, rest, 2, "it goes on where it is")

	b.rotate(2)
	require.Equal(b, persistence.BlockedError{Part: 1, Streams: 1, Keys: []persistence.StreamKey{"room/1"}, Checkpoints: []string{"mail"}}, *b.blocked(1))
	b.snapshot(c, 12, "s")
	require.NoError(b, b.DeleteCheckpoint(b.Context(), "mail"))
	b.dropped(1, 1)
}

func retentionEverybody(b *bench) {
	for i := range 3 {
		b.filled(persistence.StreamKey(fmt.Sprintf("room/%d", i)), 3)
	}
	for _, name := range []string{"search", "mail"} {
		for lane := range b.laneHeads() {
			b.checkpoint(name, lane, "node-a")
		}
	}
	b.rotate(1)
	require.Equal(b, &persistence.BlockedError{
		Part: 0, Streams: 3, Keys: []persistence.StreamKey{"room/0", "room/1", "room/2"}, Checkpoints: []string{"mail", "search"},
	}, b.blocked(0))
}

func retentionOldestFirst(b *bench) {
	c := b.filled("room/1", 5)
	b.rotate(10)
	b.grow(c, 5)
	b.rotate(20)
	b.grow(c, 5)
	b.rotate(30)
	b.snapshot(c, 7, "in the second")
	require.EqualValues(b, 10, b.blocked(29, 0).Part)
	require.Equal(b, []int32{10, 20, 30}, b.parts())
	require.EqualValues(b, 10, b.blocked(29).Part, "again drops nothing")
	_, err := b.Read(b.Context(), "room/1", 5, 1)
	require.ErrorIs(b, err, persistence.ErrTrimmed)
	rest, err := readAll(b.Context(), b, "room/1", 6)
	require.NoError(b, err)
	require.Len(b, rest, 10)
	b.replays(b.claim("room/1", "node-a"), 7)
	c = b.claim("room/1", "node-a")
	b.snapshot(c, 15, "everything")
	b.dropped(15, 10)
	b.dropped(19)
	b.dropped(29, 20)
	b.dropped(-1)
	require.Equal(b, []int32{30}, b.parts())
}
