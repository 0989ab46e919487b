package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
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
			rate, used := limiter.Own("room", limit), &ratelimit.Meter{}
			s := liveState()
			now := epochTime
			publish := func(p *roomv1.Publish) []*roomv1.Outcome {
				events, outcomes := s.Draft(maxContent, everybody).Within(rate, used).Publish(p, s.Head()+1, now)
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
