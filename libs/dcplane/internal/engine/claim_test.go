package engine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/dcplane"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	record := func(incarnation string, claim uint64) Record {
		return Record{Node: dcplane.Node{Incarnation: incarnation}, Claim: claim}
	}
	for name, c := range map[string]struct {
		mine       Record
		registered bool
		found      Record
		verdict    verdict
		claim      uint64
	}{
		"new, over an older one":             {record("b", 7), false, record("a", 3), takeKey, 7},
		"new, over one with a fast clock":    {record("b", 7), false, record("a", 9), takeKey, 10},
		"new, over garbage":                  {record("b", 7), false, Record{}, takeKey, 7},
		"new, over its own ambiguous write":  {record("b", 7), false, record("b", 7), takeKey, 8},
		"held, its own ambiguous write":      {record("b", 7), true, record("b", 7), takeKey, 7},
		"held, an older one came back first": {record("b", 7), true, record("a", 3), takeKey, 7},
		"held, garbage":                      {record("b", 7), true, Record{}, takeKey, 7},
		"held, a later one":                  {record("b", 7), true, record("a", 8), yieldKey, 7},
		"held, an equal one that is there":   {record("b", 7), true, record("a", 7), yieldKey, 7},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, claim := judge(c.mine, c.registered, c.found)
			require.Equal(t, c.verdict, v)
			require.Equal(t, c.claim, claim)
		})
	}
}

func TestTimingOrder(t *testing.T) {
	t.Parallel()
	timing := Timing{}.WithDefaults()
	require.NoError(t, timing.Validate())
	for _, serverLeases := range []bool{false, true} {
		cache := timing.cache(serverLeases)
		require.Less(t, timing.tick(), cache.Quiet)
		require.Less(t, cache.Quiet+timing.tick(), cache.Outage, "ordinary silence is not an outage")
		require.Less(t, cache.Outage+timing.renew(), timing.Lease, "an outage too short to be noticed costs no lease")
	}
	for range 1000 {
		d := jittered(timing.renew())
		require.LessOrEqual(t, d, timing.renew())
		require.GreaterOrEqual(t, d, timing.renew()*4/5)
	}
}
