package persistencetest

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

var claimTests = []namedTest{
	{"creates the stream", claimCreates},
	{"raises the epoch and tells the previous owner", claimRaises},
	{"fences the loser with epoch, owner and head", claimFences},
	{"waits for appends on their way", claimWaits},
	{"nothing older commits after any of many claims", claimParts},
	{"guard on the epoch", claimGuard},
	{"guard by a lease", claimGuardLease},
	{"guard by a lease that changes hands", claimGuardLeaseRace},
	{"unknown guard is refused", claimUnknownGuard},
	{"invalid arguments", claimInvalid},
	{"release clears the owner only of its own epoch", claimRelease},
	{"one of many wins each epoch", claimMany},
}

func claimCreates(b *bench) {
	h, err := b.Head(b.Context(), "room/1")
	require.NoError(b, err)
	require.Equal(b, persistence.Head{Key: "room/1"}, h, "a stream never claimed has an empty head")

	c := b.claim("room/1", "node-a")
	require.Equal(b, persistence.StreamKey("room/1"), c.Key)
	require.EqualValues(b, 1, c.Epoch)
	require.Equal(b, "node-a", c.Owner)
	require.Empty(b, c.PreviousOwner)
	require.Positive(b, c.StreamID)
	require.NotZero(b, c.Incarnation)
	require.LessOrEqual(b, c.Incarnation, uint64(math.MaxInt64))
	require.Zero(b, c.LastSeq)
	require.Zero(b, c.SnapSeq)
	require.Zero(b, c.TrimSeq)

	h, err = b.Head(b.Context(), "room/1")
	require.NoError(b, err)
	b.expiresIn(0, h.ClaimedAt)
	h.ClaimedAt = h.ClaimedAt.UTC()
	require.Equal(b, persistence.Head{
		Key: "room/1", StreamID: c.StreamID, Epoch: 1, Incarnation: c.Incarnation, Owner: "node-a", ClaimedAt: h.ClaimedAt,
	}, h)

	other := b.claim("room/2", "node-a")
	require.NotEqual(b, c.StreamID, other.StreamID)
	require.NotEqual(b, c.Incarnation, other.Incarnation)
}

func claimRaises(b *bench) {
	first := b.filled("room/1", 3)
	second := b.claim("room/1", "node-b")
	require.Equal(b, first.Epoch+1, second.Epoch)
	require.Equal(b, first.StreamID, second.StreamID)
	require.Equal(b, first.Incarnation, second.Incarnation)
	require.EqualValues(b, 3, second.LastSeq)
	require.Equal(b, "node-a", second.PreviousOwner)
	b.append(second, 3, newEvent("by b"))

	again := b.claim("room/1", "node-b")
	require.Equal(b, second.Epoch+1, again.Epoch, "a claim of its own stream raises the epoch, too")
	require.EqualValues(b, 4, again.LastSeq)
	require.Equal(b, "node-b", again.PreviousOwner)
}

func claimFences(b *bench) {
	loser := b.filled("room/1", 2)
	winner := b.claim("room/1", "node-b")
	b.append(winner, 2, newEvents(3)...)

	for _, expected := range []uint64{0, 2, 5, 9} {
		_, err := b.Append(b.Context(), loser, expected, newEvents(1))
		requireFenced(b, err, loser, winner, 5)
	}
	requireFenced(b, b.SaveSnapshot(b.Context(), loser, persistence.Snapshot{Seq: 2, Payload: []byte("s")}), loser, winner, 5)
	requireFenced(b, b.Trim(b.Context(), loser, 0), loser, winner, 5)
	require.Equal(b, []uint64{1, 2, 3, 4, 5}, seqs(b.all("room/1")))
}

func requireFenced(b *bench, err error, loser, winner persistence.Claim, lastSeq uint64) {
	b.Helper()
	require.ErrorIs(b, err, persistence.ErrFenced)
	var fenced *persistence.FencedError
	require.ErrorAs(b, err, &fenced)
	require.Equal(b, &persistence.FencedError{
		Key: loser.Key, MyEpoch: loser.Epoch, Epoch: winner.Epoch, Owner: winner.Owner, LastSeq: lastSeq,
	}, fenced)
}

// claimWaits: whatever an older epoch got acknowledged is below the head that the claim returned, and nothing of it
// comes after.
func claimWaits(b *bench) {
	c := b.claim("room/1", "node-a")
	for range 20 {
		started, claimed := make(chan struct{}), make(chan struct{})
		acked := make(chan uint64, 1)
		go func(c persistence.Claim) {
			head := c.LastSeq
			for late := 0; late < 3; {
				select {
				case <-claimed:
					late++
				default:
				}
				last, err := b.Append(b.Context(), c, head, newEvents(1))
				if err != nil {
					break
				}
				if head = last; head == c.LastSeq+1 {
					close(started)
				}
			}
			acked <- head
		}(c)
		<-started
		next := b.claim("room/1", "node-b")
		close(claimed)
		require.Equal(b, <-acked, next.LastSeq)
		c = next
	}
	requireRun(b, b.all("room/1"))
}

// claimParts: activations of a dozen streams claim them from each other while appends are on their way. The head that a
// claim returned parts what is older from what is newer, which the check of the history looks at.
func claimParts(b *bench) {
	const streams, activations, claims = 12, 3, 8
	h := NewHistory()
	b.work(streams*activations, streams*activations, func(i int) error {
		key := persistence.StreamKey(fmt.Sprintf("room/%d", i%streams))
		for round := range claims {
			writer := fmt.Sprintf("activation-%d-%d", i, round)
			c, err := h.Claim(b.Context(), b, writer, key, "node-a", persistence.ClaimOptions{})
			for head := c.LastSeq; err == nil && head < c.LastSeq+20; head++ {
				_, err = h.Append(b.Context(), b, writer, c, head, newEvents(1))
			}
			if err != nil && !errors.Is(err, persistence.ErrFenced) {
				return err
			}
		}
		return nil
	})
	b.holds(h)
}

func claimInvalid(b *bench) {
	for _, key := range badNames {
		_, err := b.Claim(b.Context(), persistence.StreamKey(key), "node-a", persistence.ClaimOptions{})
		require.ErrorIs(b, err, persistence.ErrInvalid, "key %q", key)
		_, err = b.Claim(b.Context(), "room/1", key, persistence.ClaimOptions{})
		require.ErrorIs(b, err, persistence.ErrInvalid, "owner %q", key)
		_, err = b.Head(b.Context(), persistence.StreamKey(key))
		require.ErrorIs(b, err, persistence.ErrInvalid, "head of %q", key)
		_, err = b.Read(b.Context(), persistence.StreamKey(key), 1, 1)
		require.ErrorIs(b, err, persistence.ErrInvalid, "read %q", key)
		_, err = b.ReadReverse(b.Context(), persistence.StreamKey(key), 0, 1)
		require.ErrorIs(b, err, persistence.ErrInvalid, "read %q backwards", key)
	}
	longest := persistence.StreamKey("room/" + strings.Repeat("ü", (persistence.MaxKeyBytes-5)/2))
	c := b.claim(longest, "node-a")
	b.append(c, 0, newEvent("x"))
	require.Len(b, b.all(longest), 1)
}

var badNames = []string{"", strings.Repeat("k", persistence.MaxKeyBytes+1), "room/\x00", "room/\xff\xfe"}

func claimRelease(b *bench) {
	first := b.claim("room/1", "node-a")
	require.NoError(b, b.Release(b.Context(), first))
	h, err := b.Head(b.Context(), "room/1")
	require.NoError(b, err)
	require.Empty(b, h.Owner)
	require.Equal(b, first.Epoch, h.Epoch)
	b.append(first, 0, newEvent("the epoch still writes"))

	second := b.claim("room/1", "node-b")
	require.Empty(b, second.PreviousOwner)
	require.NoError(b, b.Release(b.Context(), first), "a release that lost its stream is no error")
	h, err = b.Head(b.Context(), "room/1")
	require.NoError(b, err)
	require.Equal(b, "node-b", h.Owner)
	require.ErrorIs(b, b.Release(b.Context(), persistence.Claim{}), persistence.ErrInvalid)
}

func claimMany(b *bench) {
	const claimers = 32
	claims := make([]persistence.Claim, claimers)
	var group sync.WaitGroup
	for i := range claims {
		group.Go(func() {
			var err error
			claims[i], err = b.Claim(b.Context(), "room/1", "node", persistence.ClaimOptions{})
			if err != nil {
				b.Errorf("claim: %v", err)
			}
		})
	}
	group.Wait()
	epochs := map[uint64]bool{}
	for _, c := range claims {
		epochs[c.Epoch] = true
	}
	require.Len(b, epochs, claimers, "no epoch is given twice")
	for _, c := range claims {
		_, err := b.Append(b.Context(), c, 0, newEvents(1))
		if c.Epoch == claimers {
			require.NoError(b, err)
		} else {
			require.ErrorIs(b, err, persistence.ErrFenced)
		}
	}
}
