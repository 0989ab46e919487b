package actorkit

import (
	"context"
	"log/slog"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// late finds another node after some time.
type late struct {
	Finder
	at time.Time
}

func (f late) Find(context.Context) ([]string, error) {
	if time.Now().Before(f.at) {
		return nil, nil
	}
	return []string{"other"}, nil
}

// A farewell is repeated when a start has got stuck, and not while it has hardly begun because the others came late.
func TestFarewellIsNotRepeatedTooSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		var said []time.Duration
		p := &provider{
			finder: late{at: began.Add(2600 * time.Millisecond)}, self: "self", quorum: 2, ctx: ctx, joining: make(chan struct{}),
			alive: func(context.Context, string) bool { return true },
			farewell: func(context.Context, []string) error {
				said = append(said, time.Since(began))
				return nil
			},
			logger: slog.New(slog.DiscardHandler), waiting: func(error) {},
		}
		go p.insist(ctx)
		others, err := p.DiscoverPeers()
		require.NoError(t, err)
		require.Equal(t, []string{"other"}, others)
		<-time.After(3*farewellEvery + time.Millisecond)
		cancel()
		synctest.Wait()
		require.Len(t, said, 3)
		require.GreaterOrEqual(t, said[1]-said[0], farewellEvery)
		require.Equal(t, 2*farewellEvery, said[2]-said[1], "joining may take longer than a farewell lets it")
	})
}

func TestIncarnationOfAFarewell(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	require.Greater(t, incarnation(now), uint32(100_000_000))
	require.Equal(t, incarnation(now)+10, incarnation(now.Add(time.Second)))
	for _, wrong := range []time.Time{time.Unix(0, 0), time.Date(2025, 12, 31, 23, 59, 0, 0, time.UTC), {}} {
		require.Zero(t, incarnation(wrong), wrong)
	}
	require.EqualValues(t, math.MaxUint32-1<<20, incarnation(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)))
}
