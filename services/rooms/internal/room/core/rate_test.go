package core

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/libs/ratelimit"
)

func drafts(from, to int) (list []*roomv1.Draft) {
	for i := from; i < to; i++ {
		list = append(list, draftOf(fmt.Sprint("m", i), "0123456789"))
	}
	return list
}

// What is more than the room takes is refused, and everything of that batch behind it (S4); a repeat of what was stored is not (S3),
// nor what no member asked for. Each is told when it passes, and does.
func TestRoomsTakeSoManyMessages(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]ratelimit.Limit{
		"messages": {Pieces: ratelimit.Rate{PerSecond: 10, Burst: 3}},
		"bytes":    {Bytes: ratelimit.Rate{PerSecond: 100, Burst: 30}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limiter, err := ratelimit.New(ratelimit.Config{}, nil)
			require.NoError(t, err)
			gauge := NewGauge(limiter.Own("room", limit))
			s := liveState()
			now := epochTime
			publish := func(p *roomv1.Publish) []*roomv1.Outcome {
				events, outcomes := s.Draft(maxContent, everybody).Within(gauge).Publish(p, s.Head()+1, now)
				commit(t, s, events, now)
				return outcomes
			}
			outcomes := publish(&roomv1.Publish{MemberId: "ada", Drafts: drafts(0, 6)})
			for i, o := range outcomes {
				if i < 3 {
					require.NotZero(t, o.Seq, i)
					continue
				}
				require.Equal(t, int32(clientv1.ErrorCode_ERROR_CODE_RATE_LIMITED), o.Refused.GetCode(), i)
				require.InDelta(t, 100*(i-2), o.Refused.GetRetryAfterMs(), 1)
			}
			outcomes = publish(&roomv1.Publish{MemberId: "ada", Drafts: drafts(0, 4)})
			for i, o := range outcomes[:3] {
				require.True(t, o.Duplicate, i)
			}
			require.NotNil(t, outcomes[3].Refused)
			outcomes = publish(&roomv1.Publish{MemberId: "server", Drafts: drafts(0, 5), Unchecked: true})
			for i, o := range outcomes {
				require.NotZero(t, o.Seq, i)
			}
			for i := 3; i < 6; i++ {
				now = now.Add(101 * time.Millisecond)
				outcomes = publish(&roomv1.Publish{MemberId: "ada", Drafts: drafts(i, i+1)})
				require.NotZero(t, outcomes[0].Seq, i)
			}
		})
	}
}

// A room's settings go before the service's rates, from their seq on, each of the two for itself, and 0 gives them back. Another
// limit begins unused; settings that change something else do not.
func TestRatesOfTheRoom(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		service ratelimit.Limit
		asked   *roomv1.ChangeSettings
		takes   int
		back    *roomv1.ChangeSettings
		then    int
	}{
		"narrower": {
			ratelimit.Limit{Pieces: ratelimit.Rate{PerSecond: 1, Burst: 9}},
			&roomv1.ChangeSettings{MessageRate: &journalv1.Rate{PerSecond: 1, Burst: 2}}, 2,
			&roomv1.ChangeSettings{MessageRate: &journalv1.Rate{}}, 9,
		},
		"wider": {
			ratelimit.Limit{Pieces: ratelimit.Rate{PerSecond: 1, Burst: 2}},
			&roomv1.ChangeSettings{MessageRate: &journalv1.Rate{PerSecond: 1, Burst: 7}}, 7,
			&roomv1.ChangeSettings{MessageRate: &journalv1.Rate{}}, 2,
		},
		"where the service has none": {
			ratelimit.Limit{},
			&roomv1.ChangeSettings{MessageRate: &journalv1.Rate{PerSecond: 1}}, 5,
			&roomv1.ChangeSettings{MessageRate: &journalv1.Rate{}}, 20,
		},
		"bytes": {
			ratelimit.Limit{Pieces: ratelimit.Rate{PerSecond: 1, Burst: 6}},
			&roomv1.ChangeSettings{ByteRate: &journalv1.Rate{PerSecond: 10, Burst: 40}}, 4,
			&roomv1.ChangeSettings{ByteRate: &journalv1.Rate{}}, 6,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limiter, err := ratelimit.New(ratelimit.Config{}, nil)
			require.NoError(t, err)
			s, gauge, n := liveState(), NewGauge(limiter.Own("room", c.service)), 0
			ask := func(change *roomv1.ChangeSettings) {
				n++
				events, ruled := s.Draft(maxContent, everybody).Within(gauge).Administer(asked(fmt.Sprint(n), change), s.Head()+1, epochTime)
				require.Nil(t, ruled.Refused)
				commit(t, s, events, epochTime)
			}
			taken := func() (count int) {
				n += 20
				events, outcomes := s.Draft(maxContent, everybody).Within(gauge).Publish(
					&roomv1.Publish{MemberId: "ada", Drafts: drafts(n, n+20)}, s.Head()+1, epochTime)
				commit(t, s, events, epochTime)
				for i, o := range outcomes {
					require.Equal(t, i >= len(events), o.Refused != nil)
				}
				return len(events)
			}
			ask(c.asked)
			require.Equal(t, c.takes, taken())
			on := true
			ask(&roomv1.ChangeSettings{PresenceEvents: &on})
			require.Zero(t, taken(), "another setting gives nothing back")
			ask(c.back)
			require.Nil(t, s.Settings().MessageRate)
			require.Nil(t, s.Settings().ByteRate)
			require.Equal(t, c.then, taken())
		})
	}
}

// S1: within one batch a change of the rate holds for what comes behind it, and another writer finds it in the stream or snapshot.
func TestRatesOfTheRoomAreStored(t *testing.T) {
	t.Parallel()
	limiter, err := ratelimit.New(ratelimit.Config{}, nil)
	require.NoError(t, err)
	own := limiter.Own("room", ratelimit.Limit{})
	s := liveState()
	d := s.Draft(maxContent, everybody).Within(NewGauge(own))
	events, ruled := d.Administer(asked("1", &roomv1.ChangeSettings{MessageRate: &journalv1.Rate{PerSecond: 0.5, Burst: 2}}), 1, epochTime)
	require.Nil(t, ruled.Refused)
	more, _ := d.Publish(&roomv1.Publish{MemberId: "ada", Drafts: drafts(0, 20)}, 2, epochTime)
	require.Len(t, more, 2)
	commit(t, s, append(events, more...), epochTime)

	snap, err := s.Snapshot()
	require.NoError(t, err)
	next, err := RestoreState(persistence.Claim{}, snap, 0)
	require.NoError(t, err)
	next.Live(epochTime)
	events, _ = next.Draft(maxContent, everybody).Within(NewGauge(own)).Publish(
		&roomv1.Publish{MemberId: "ada", Drafts: drafts(20, 40)}, next.Head()+1, epochTime)
	require.Len(t, events, 2, "the limit is stored, what was used of it is not")
}

// A rate that this version cannot keep, as a later one may write it, counts as none.
func TestRatesOfALaterVersion(t *testing.T) {
	t.Parallel()
	limiter, err := ratelimit.New(ratelimit.Config{}, nil)
	require.NoError(t, err)
	service := ratelimit.Limit{Pieces: ratelimit.Rate{PerSecond: 3, Burst: 5}}
	for _, r := range []*journalv1.Rate{{PerSecond: 1e12, Burst: 1e12}, {PerSecond: -1, Burst: 2}, {PerSecond: math.NaN(), Burst: 1}, {PerSecond: 1}} {
		g := NewGauge(limiter.Own("room", service))
		g.set(&journalv1.Settings{MessageRate: r})
		require.Equal(t, service, g.limit, "%v", r)
	}
}
