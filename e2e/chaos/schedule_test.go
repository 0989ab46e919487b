package chaos

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/history"
)

func somePlan(seed uint64) Plan {
	return Plan{Seed: seed, Duration: 10 * time.Minute, Gateways: []string{"gateway-1", "gateway-2"}, Rooms: []string{"rooms-1", "rooms-2", "rooms-3"}, Cuts: true}
}

func TestTheSeedDecidesTheSchedule(t *testing.T) {
	t.Parallel()
	require.Equal(t, Schedule(somePlan(7)), Schedule(somePlan(7)))
	require.NotEqual(t, Schedule(somePlan(7)), Schedule(somePlan(8)))
}

func TestSchedulesAreSound(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		p := somePlan(seed)
		p.Cuts, p.Single = seed%3 > 0, seed%2 == 0
		total, overlapping := time.Duration(0), 0
		drawn := make(map[string]int)
		for _, e := range Schedule(p) {
			require.NotEmpty(t, e)
			if len(e) > 1 {
				overlapping++
			}
			hit := make(map[string]bool)
			for _, f := range e {
				drawn[f.Class]++
				require.NotEmpty(t, f.String())
				if f.Action == Split {
					require.NotContains(t, f.With, f.Target)
					require.Less(t, len(f.side()), 3)
				}
				if f.wired() {
					require.NotEqual(t, f.Target, f.Peer)
					require.False(t, f.Refuse && (f.Target == clients || f.Both && f.Peer == clients), "the firewall of this machine is not ours: %s", f)
					continue
				}
				require.False(t, hit[f.Target], "two faults of one process: %s", e)
				hit[f.Target] = true
				require.Empty(t, f.Peer)
			}
			total += e.Length() + quiet
		}
		require.GreaterOrEqual(t, total, p.Duration)
		require.Less(t, total, p.Duration+3*time.Minute)
		require.Equal(t, p.Single, overlapping == 0)
		classes := len((&drawer{plan: p}).classes())
		require.Equal(t, 9, len((&drawer{plan: somePlan(0)}).classes())-len((&drawer{plan: Plan{Gateways: p.Gateways, Rooms: p.Rooms}}).classes()), "kinds of faults of the network")
		if p.Single { // nothing that is drawn is lost
			require.Len(t, drawn, classes)
			for name, n := range drawn {
				for other, m := range drawn {
					require.LessOrEqual(t, n, m+1, "%s came up before %s had", name, other)
				}
			}
		}
	}
}

func TestOnlyAndShortSchedules(t *testing.T) {
	t.Parallel()
	p := somePlan(3)
	p.Only, p.Duration = []string{"rooms killed", "postgres frozen"}, 20*time.Second
	for _, e := range Schedule(p) {
		require.LessOrEqual(t, e.Length(), 15*time.Second, "a short run has short faults: %s", e)
		for _, f := range e {
			require.Contains(t, p.Only, f.Class)
		}
	}
}

func TestOutagesAreMeasuredFromTheFault(t *testing.T) {
	t.Parallel()
	s := func(n int) time.Duration { return time.Duration(n) * time.Second }
	require.Equal(t, s(3), longestGap([]time.Duration{s(1), s(9), s(13), s(14)}, s(10), s(20)), "from the fault, not from the ack before")
	require.Equal(t, s(6), longestGap([]time.Duration{s(11), s(17), s(18), s(40)}, s(10), s(18)), "a pause some time after it")
	require.Equal(t, s(1), longestGap([]time.Duration{s(11), s(12), s(30)}, s(10), s(12)), "what begins later is another's")
	require.Equal(t, s(2), longestGap(nil, s(10), s(12)), "nothing at all")

	chain := func(gateway string, acks ...int) *history.Chain {
		c := &history.Chain{Name: gateway, Conns: []history.Conn{{Gateway: gateway}}}
		for _, at := range acks {
			c.Attempts = append(c.Attempts, history.Attempt{Outcome: history.Stored, Answered: s(at)})
		}
		return c
	}
	records := []*history.Record{
		{Room: "busy-0", Chains: []*history.Chain{chain("gateway-1", 9, 12, 13), chain("gateway-2", 10, 11, 12)}},
		{Room: "busy-1", Chains: []*history.Chain{chain("gateway-2", 11, 12)}},
		{Room: "silent-0", Chains: []*history.Chain{chain("gateway-1", 1)}},
	}
	outages := Outages([]*Strike{
		{Fault: Fault{Class: "rooms killed", Target: "rooms-1"}, Alone: true, From: s(10), To: s(11), Owned: []string{"busy-0", "silent-0"}},
		{Fault: Fault{Class: "gateway killed", Target: "gateway-1"}, Alone: true, From: s(10), To: s(11)},
		{Fault: Fault{Class: "rooms cut from gateway", Target: "rooms-1", Peer: "gateway-2"}, Alone: true, From: s(10), To: s(11), Owned: []string{"busy-0", "busy-1"}},
		{Fault: Fault{Class: "postgres killed", Target: postgres}, Alone: true, From: s(10), To: s(11)},
		{Fault: Fault{Class: "rooms killed", Target: "rooms-2"}, From: s(10), To: s(11), Owned: []string{"busy-1"}},
	}, records, []string{"gateway-1", "gateway-2"})
	require.Equal(t, []Outage{
		{"rooms killed", "busy-0", s(1)},
		{"gateway killed", "busy-0/gateway-1", s(2)},
		{"rooms cut from gateway", "busy-0/gateway-2", s(1)}, {"rooms cut from gateway", "busy-0", s(2)}, {"rooms cut from gateway", "busy-1/gateway-2", s(1)},
		{"postgres killed", "busy-0", s(1)}, {"postgres killed", "busy-1", s(1)},
	}, outages)
	require.Equal(t, []Outage{{noFault, "busy-0", s(1)}, {noFault, "busy-1", s(2)}}, Calm([]history.Healing{{From: s(8), To: s(13)}}, records))
	require.Contains(t, Table(outages), "rooms killed                          1       1s       1s       1s   1s, 5s")
}
