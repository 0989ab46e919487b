package persistencetest

import (
	"bytes"
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

var feedTests = []namedTest{
	{"lanes", feedLanes},
	{"every event in the order of commits", feedOrder},
	{"nothing new", feedNothing},
	{"pages by limit", feedLimit},
	{"pages by bytes", feedBytes},
	{"holes are passed", feedHoles},
	{"an append that was refused leaves no event", feedRefused},
	{"restart from a cursor", feedCursor},
	{"trimmed events wait for a checkpoint", feedTrimmed},
	{"unknown lane and bad limits", feedInvalid},
	{"concurrent writers, a tail of each lane", feedTails},
	{"partitions rotate under a tail", feedRotation},
}

func feedLanes(b *bench) {
	want := max(1, b.opts.Lanes)
	heads := b.laneHeads()
	require.Len(b, heads, want)
	for lane, head := range heads {
		require.Equal(b, persistence.LaneHead{Lane: lane}, head, "an empty store has given no position")
	}
	used := map[int16]int{}
	for i := range 64 {
		c := b.filled(persistence.StreamKey(fmt.Sprintf("room/%d", i)), 1)
		require.Contains(b, heads, c.Lane)
		require.Equal(b, c.Lane, b.claim(c.Key, "node-b").Lane, "for good")
		used[c.Lane]++
	}
	require.Len(b, used, want, "streams are spread over all lanes")
	for lane, head := range b.laneHeads() {
		require.GreaterOrEqual(b, head.Pos, uint64(used[lane]))
		require.Zero(b, head.TrimPos)
	}
}

func feedOrder(b *bench) {
	const streams, rounds = 5, 20
	var claims []persistence.Claim
	for i := range streams {
		claims = append(claims, b.claim(persistence.StreamKey(fmt.Sprintf("room/%d", i)), "node-a"))
	}
	commits := map[int16][]persistence.FeedEvent{}
	for round := range rounds {
		for i, c := range claims {
			e := newEvent(fmt.Sprintf("%d of %d", round, i))
			if e.Codec = persistence.CodecRaw; round%2 == 0 {
				e.Codec, e.Meta, e.Manifest = persistence.CodecProto, []byte{byte(i)}, "test.v1.Öther"
			}
			b.append(c, uint64(round), e)
			e.Seq, e.Epoch = uint64(round+1), c.Epoch
			commits[c.Lane] = append(commits[c.Lane], persistence.FeedEvent{Event: e, Key: c.Key})
		}
	}
	for lane := range b.laneHeads() {
		events, _ := b.lane(lane, 0, persistence.MaxRead)
		require.Len(b, events, len(commits[lane]))
		for i, e := range events {
			want := commits[lane][i]
			require.False(b, e.At.IsZero())
			require.Equal(b, want.Key, e.Key)
			require.Equal(b, want.Seq, e.Seq)
			require.Equal(b, want.Epoch, e.Epoch)
			require.Equal(b, want.MessageID, e.MessageID)
			require.Equal(b, want.Codec, e.Codec)
			require.Equal(b, want.Manifest, e.Manifest)
			require.True(b, bytes.Equal(want.Payload, e.Payload))
			require.True(b, bytes.Equal(want.Meta, e.Meta))
			clear(e.Payload) // what is read is the reader's
		}
		again, _ := b.lane(lane, 0, persistence.MaxRead)
		for i, e := range again {
			require.True(b, bytes.Equal(commits[lane][i].Payload, e.Payload))
		}
	}
}

func feedNothing(b *bench) {
	c := b.filled("room/1", 3)
	pos := b.laneHeads()[c.Lane].Pos
	require.Positive(b, pos)
	for _, after := range []uint64{pos, pos + 1, 1 << 62, 1<<64 - 1} {
		events, next, err := b.ReadLane(b.Context(), c.Lane, after, 10)
		require.NoError(b, err)
		require.Empty(b, events)
		require.Equal(b, after, next, "a cursor never goes back")
	}
	b.append(c, 3, newEvent("x"))
	events, next, err := b.ReadLane(b.Context(), c.Lane, pos, 10)
	require.NoError(b, err)
	require.Len(b, events, 1)
	require.GreaterOrEqual(b, next, events[0].Pos)
}

func feedLimit(b *bench) {
	c := b.filled("room/1", 25)
	var seen []uint64
	for after := uint64(0); ; {
		events, next, err := b.ReadLane(b.Context(), c.Lane, after, 7)
		require.NoError(b, err)
		require.LessOrEqual(b, len(events), 7)
		if next == after {
			break
		}
		after = next
		for _, e := range events {
			seen = append(seen, e.Seq)
		}
	}
	require.Equal(b, seqs(b.all("room/1")), seen)
	one, _ := b.lane(c.Lane, 0, 1)
	require.Len(b, one, 25)
	from, _ := b.lane(c.Lane, one[9].Pos, persistence.MaxRead)
	require.Len(b, from, 15)
	require.EqualValues(b, 11, from[0].Seq)
}

// feedBytes: a page is bounded by its bytes, one event larger than a page comes alone, and empty ones take no room.
func feedBytes(b *bench) {
	c := b.claim("room/1", "node-a")
	sizes := []int{1 << 20, 1 << 20, 1 << 20, 1 << 20, 0, persistence.MaxPayloadBytes, 0, 3 << 20, 3 << 20, 0}
	for i, size := range sizes {
		e := newEvent("")
		e.Payload, e.Meta = make([]byte, size), make([]byte, 10)
		b.append(c, uint64(i), e)
	}
	var seen []uint64
	pages := 0
	for after := uint64(0); ; {
		events, next, err := b.ReadLane(b.Context(), c.Lane, after, persistence.MaxRead)
		require.NoError(b, err)
		if next == after {
			break
		}
		after = next
		size := 0
		for _, e := range events {
			seen = append(seen, e.Seq)
			require.Len(b, e.Payload, sizes[e.Seq-1])
			size += len(e.Payload) + len(e.Meta)
		}
		if len(events) > 0 {
			pages++
		}
		if len(events) > 1 {
			require.LessOrEqual(b, size, persistence.MaxReadBytes)
		}
	}
	require.Equal(b, seqs(b.all("room/1")), seen)
	require.GreaterOrEqual(b, pages, 5)
}

// feedHoles: positions jump where a journal was restored. A reader passes that, and comes to the end of the lane.
func feedHoles(b *bench) {
	c := b.filled("room/1", 2)
	events, cursor := b.lane(c.Lane, 0, 10)
	require.Len(b, events, 2)
	_, err := b.MarkRestored(b.Context())
	require.NoError(b, err)
	pos := b.laneHeads()[c.Lane].Pos
	require.GreaterOrEqual(b, pos, cursor+persistence.RestoreGap)

	events, next := b.lane(c.Lane, events[1].Pos, 10)
	require.Empty(b, events)
	require.GreaterOrEqual(b, next, pos)
	b.append(b.claim("room/1", "node-a"), 2, newEvent("after"))
	for _, after := range []uint64{cursor, cursor + 1, cursor + persistence.RestoreGap/2, next} {
		events, _ = b.lane(c.Lane, after, 10)
		require.Len(b, events, 1, "after %d", after)
		require.EqualValues(b, 3, events[0].Seq)
		require.Greater(b, events[0].Pos, pos)
	}
}

func feedRefused(b *bench) {
	c := b.filled("room/1", 2)
	_, err := b.Append(b.Context(), c, 1, newEvents(3))
	require.ErrorIs(b, err, persistence.ErrConflict)
	now := b.claim("room/1", "node-b")
	_, err = b.Append(b.Context(), c, 2, newEvents(3))
	require.ErrorIs(b, err, persistence.ErrFenced)
	b.append(now, 2, newEvent("x"))
	events, _ := b.lane(c.Lane, 0, 100)
	require.Len(b, events, 3)
	require.Equal(b, now.Epoch, events[2].Epoch)
}

// feedCursor: a consumer saves its place, ends, and another one goes on from there.
func feedCursor(b *bench) {
	c := b.filled("room/1", 20)
	held, err := b.ClaimCheckpoint(b.Context(), "projection", c.Lane, "node-a")
	require.NoError(b, err)
	var seen []uint64
	take := func(n int) {
		for cursor := held.Pos; len(seen) < n; {
			events, next, err := b.ReadLane(b.Context(), c.Lane, cursor, 3)
			require.NoError(b, err)
			require.Greater(b, next, cursor, "there is more")
			for _, e := range events {
				seen = append(seen, e.Seq)
			}
			require.NoError(b, b.SaveCheckpoint(b.Context(), held, next))
			cursor = next
		}
	}
	take(10)
	require.Less(b, len(seen), 20)
	held, err = b.ClaimCheckpoint(b.Context(), "projection", c.Lane, "node-b")
	require.NoError(b, err)
	b.append(c, 20, newEvent("meanwhile"))
	take(21)
	require.Equal(b, seqs(b.all("room/1")), seen)
}

// feedTrimmed: what a stream trims is still there for a consumer that has not passed it, however long that takes.
func feedTrimmed(b *bench) {
	c := b.filled("room/1", 50)
	held, err := b.ClaimCheckpoint(b.Context(), "projection", c.Lane, "node-a")
	require.NoError(b, err)
	first, _ := b.lane(c.Lane, 0, 10)
	require.NoError(b, b.SaveCheckpoint(b.Context(), held, first[9].Pos))
	b.snapshot(c, 45, "s")
	require.NoError(b, b.Trim(b.Context(), c, 40))
	for range 20 { // time to delete rows, for a backend that would
		require.NoError(b, b.Ping(b.Context()))
	}
	events, next := b.lane(c.Lane, first[9].Pos, 7)
	require.Len(b, events, 40)
	require.EqualValues(b, 11, events[0].Seq)

	require.NoError(b, b.SaveCheckpoint(b.Context(), held, next))
	b.append(c, 50, newEvent("x"))
	events, _ = b.lane(c.Lane, next, 7)
	require.Len(b, events, 1)
}

func feedInvalid(b *bench) {
	heads := b.laneHeads()
	for _, lane := range []int16{-1, -32768, int16(len(heads)), 32767} {
		require.NotContains(b, heads, lane)
		_, _, err := b.ReadLane(b.Context(), lane, 0, 1)
		require.ErrorIs(b, err, persistence.ErrInvalid, "lane %d", lane)
		_, err = b.ClaimCheckpoint(b.Context(), "projection", lane, "node-a")
		require.ErrorIs(b, err, persistence.ErrInvalid, "lane %d", lane)
	}
	for lane := range heads {
		for _, limit := range []int{0, -1, persistence.MaxRead + 1} {
			_, _, err := b.ReadLane(b.Context(), lane, 0, limit)
			require.ErrorIs(b, err, persistence.ErrInvalid, "limit %d", limit)
		}
	}
}
