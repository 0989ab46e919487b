package persistencetest

import (
	"bytes"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

var limitTests = []namedTest{
	{"append", limitAppend},
	{"snapshot", limitSnapshot},
	{"read", limitRead},
	{"claim of nothing", limitClaim},
}

func limitAppend(b *bench) {
	c := b.claim("room/1", "node-a")
	try := func(events []persistence.Event) error {
		_, err := b.Append(b.Context(), c, 0, events)
		return err
	}
	require.ErrorIs(b, try(nil), persistence.ErrInvalid)
	require.ErrorIs(b, try(newEvents(persistence.MaxAppendEvents+1)), persistence.ErrTooLarge)

	large := newEvent("")
	large.Payload = make([]byte, persistence.MaxPayloadBytes+1)
	require.ErrorIs(b, try([]persistence.Event{large}), persistence.ErrTooLarge)

	large.Payload = large.Payload[:persistence.MaxPayloadBytes]
	require.ErrorIs(b, try([]persistence.Event{large, large}), persistence.ErrTooLarge, "manifests count, too")

	long := newEvent("")
	long.Manifest = strings.Repeat("m", persistence.MaxKeyBytes+1)
	require.ErrorIs(b, try([]persistence.Event{long}), persistence.ErrTooLarge)

	require.Empty(b, b.all("room/1"))
	b.append(c, 0, newEvent("a refusal costs nothing"))
}

func limitSnapshot(b *bench) {
	c := b.filled("room/1", 3)
	save := func(seq uint64, payload []byte) error {
		return b.SaveSnapshot(b.Context(), c, persistence.Snapshot{Seq: seq, Payload: payload})
	}
	require.ErrorIs(b, save(0, nil), persistence.ErrInvalid)
	require.ErrorIs(b, save(4, nil), persistence.ErrInvalid, "a snapshot of what is not stored")
	require.ErrorIs(b, save(1<<63, nil), persistence.ErrInvalid)
	require.ErrorIs(b, save(2, make([]byte, persistence.MaxSnapshotBytes+1)), persistence.ErrTooLarge)

	largest := bytes.Repeat([]byte("s"), persistence.MaxSnapshotBytes)
	require.NoError(b, save(2, largest))
	rec, err := b.Recover(b.Context(), b.claim("room/1", "node-a"))
	require.NoError(b, err)
	require.True(b, bytes.Equal(largest, rec.Snapshot.Payload))
}

func limitRead(b *bench) {
	for _, limit := range []int{0, -1, persistence.MaxRead + 1} {
		_, err := b.Read(b.Context(), "room/1", 1, limit)
		require.ErrorIs(b, err, persistence.ErrInvalid, "limit %d", limit)
		_, err = b.ReadReverse(b.Context(), "room/1", 0, limit)
		require.ErrorIs(b, err, persistence.ErrInvalid, "limit %d", limit)
		_, err = b.DeleteExpiredSessions(b.Context(), limit)
		require.ErrorIs(b, err, persistence.ErrInvalid, "limit %d", limit)
	}
}

func limitClaim(b *bench) {
	c := b.claim("room/1", "node-a")
	for _, bad := range []persistence.Claim{
		{},
		{Key: c.Key, StreamID: c.StreamID},
		{Key: c.Key, Epoch: c.Epoch},
		{StreamID: c.StreamID, Epoch: c.Epoch},
		{Key: c.Key, StreamID: c.StreamID + 1000, Epoch: c.Epoch},
	} {
		_, err := b.Append(b.Context(), bad, 0, newEvents(1))
		require.ErrorIs(b, err, persistence.ErrInvalid, "%+v", bad)
		require.ErrorIs(b, b.SaveSnapshot(b.Context(), bad, persistence.Snapshot{Seq: 1}), persistence.ErrInvalid, "%+v", bad)
		require.ErrorIs(b, b.Trim(b.Context(), bad, 1), persistence.ErrInvalid, "%+v", bad)
	}
}
