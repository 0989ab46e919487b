package postgres_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/persistencetest/pgtest"
	"github.com/parley-rt/parley/libs/persistence/postgres"
)

// TestPoisonHarmsNobodyElse: one stream of a batch has a row where its next event belongs. Its append fails, alone; the
// others of the batch are stored (S9).
func TestPoisonHarmsNobodyElse(t *testing.T) {
	t.Parallel()
	url := shared.SchemaURL(t)
	b := opened(t, url, postgres.Options{})
	const streams = 40
	claims := make([]persistence.Claim, streams)
	for i := range claims {
		claims[i] = claim(t, b, persistence.StreamKey(fmt.Sprintf("room/%d", i)))
	}
	sick := claims[17]
	_, err := connect(t, url).Exec(t.Context(), `INSERT INTO journal_event (stream_id, seq, pos, epoch, part, lane, codec, message_id, manifest, payload)
		VALUES ($1, 1, 1000000, 1, 0, $2, 0, gen_random_uuid(), 'x', '')`, sick.StreamID, sick.Lane)
	require.NoError(t, err)

	released := holdLanes(t, url, 1) // so that all of them meet in few batches
	var group sync.WaitGroup
	errs := make([]error, streams)
	for i, c := range claims {
		group.Go(func() { _, errs[i] = b.Append(context.Background(), c, 0, event(fmt.Sprint(i))) })
	}
	<-released
	group.Wait()
	for i, err := range errs {
		if i == 17 {
			require.ErrorIs(t, err, persistence.ErrCorrupt)
			continue
		}
		require.NoError(t, err)
	}
}

// TestOverload: with the server silent, the queue fills up and refuses at once; those in it get their answers when it speaks.
func TestOverload(t *testing.T) {
	t.Parallel()
	proxy, url := proxied(t, shared)
	b := opened(t, url, postgres.Options{})
	big := persistence.Event{Manifest: "test.v1.Event", Payload: make([]byte, 8<<20)}
	const streams = 40
	claims := make([]persistence.Claim, streams)
	for i := range claims {
		// All in one lane: keys that hash alike are found by trying.
		for try := 0; ; try++ {
			claims[i] = claim(t, b, persistence.StreamKey(fmt.Sprintf("room/%d-%d", i, try)))
			if claims[i].Lane == claims[0].Lane {
				break
			}
		}
	}
	proxy.Stall(pgtest.Both, 1500*time.Millisecond)
	results := make(chan error, streams)
	for _, c := range claims {
		go func() {
			_, err := b.Append(context.Background(), c, 0, []persistence.Event{big})
			results <- err
		}()
	}
	var stored, refused int
	for range streams {
		switch err := <-results; {
		case err == nil:
			stored++
		default:
			require.ErrorIs(t, err, persistence.ErrOverloaded)
			refused++
		}
	}
	require.Positive(t, refused)
	require.Positive(t, stored)
	for _, c := range claims {
		h, err := b.Head(t.Context(), c.Key)
		require.NoError(t, err)
		stored -= int(h.LastSeq)
	}
	require.Zero(t, stored, "exactly the acknowledged ones are there")
}

// TestLargeReads: pages end at 4 MiB however many rows were asked for, in both directions, also right after one that the
// client had to cut, and a recovery of many large tails gives each its first page.
func TestLargeReads(t *testing.T) {
	t.Parallel()
	b := opened(t, shared.SchemaURL(t), postgres.Options{})
	const streams, each, size = 12, 130, 64 << 10
	claims := make([]persistence.Claim, streams)
	var group sync.WaitGroup
	for i := range claims {
		key := persistence.StreamKey(fmt.Sprintf("room/%d", i))
		group.Go(func() {
			c, err := b.Claim(context.Background(), key, "node-a", persistence.ClaimOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			claims[i] = c
			for head := uint64(0); head < each; head++ {
				if _, err := b.Append(context.Background(), c, head, []persistence.Event{{Manifest: "test.v1.Event", Payload: make([]byte, size)}}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	for range 2 { // the second time the server cuts
		page, err := b.Read(t.Context(), "room/0", 1, 10_000)
		require.NoError(t, err)
		require.Len(t, page, persistence.MaxReadBytes/size)
		require.EqualValues(t, 1, page[0].Seq)
		page, err = b.ReadReverse(t.Context(), "room/0", 0, 10_000)
		require.NoError(t, err)
		require.Len(t, page, persistence.MaxReadBytes/size)
		require.EqualValues(t, each, page[0].Seq)
	}
	recoveries := make([]persistence.Recovery, streams)
	for i := range claims {
		group.Go(func() {
			c, err := b.Claim(context.Background(), claims[i].Key, "node-b", persistence.ClaimOptions{})
			if err == nil {
				recoveries[i], err = b.Recover(context.Background(), c)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for i, rec := range recoveries {
		require.NotEmpty(t, rec.Tail, i)
		require.True(t, rec.More)
		require.LessOrEqual(t, len(rec.Tail)*size, persistence.MaxReadBytes)
		for j, e := range rec.Tail {
			require.EqualValues(t, j+1, e.Seq)
		}
	}
}
