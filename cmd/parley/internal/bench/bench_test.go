package bench

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFramesOfEveryLength(t *testing.T) {
	t.Parallel()
	sizes := []int{0, 1, 125, 126, 65535, 65536, 100_000}
	var stream []byte
	for _, size := range sizes {
		stream = append(stream, serverFrame(size)...)
	}
	for _, cut := range []int{0, 1, 2, 3, 9, 50_000} { // what is missing at the end
		var got []int
		used, err := frames(stream[:len(stream)-cut], func(_ byte, payload []byte) error {
			got = append(got, len(payload))
			return nil
		})
		require.NoError(t, err)
		if cut == 0 {
			require.Equal(t, sizes, got)
			require.Equal(t, len(stream), used)
			continue
		}
		require.Equal(t, sizes[:len(sizes)-1], got)
		require.Equal(t, len(stream)-100_010, used)
	}
}

func TestFramesReportTheCloseCode(t *testing.T) {
	t.Parallel()
	_, err := frames([]byte{0x88, 6, 0x0f, 0xa1, 'S', 'L', 'O', 'W'}, func(byte, []byte) error { return nil })
	var closed *serverClosedError
	require.ErrorAs(t, err, &closed)
	require.Equal(t, uint16(4001), closed.code)
	require.Equal(t, "SLOW", closed.reason)
}

func TestClientFramesHaveTheRightLength(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 125, 126, 65535, 65536} {
		b := appendFrame(nil, opText, make([]byte, size))
		b[1] &= 0x7f // as the server would measure it without the mask
		head, payload, ok := frameAt(b)
		require.True(t, ok)
		require.Equal(t, size, payload)
		require.Len(t, b, head+4+size)
	}
}

func TestChainOfAMessage(t *testing.T) {
	t.Parallel()
	for frame, want := range map[string][2]uint64{
		`{"message":{"content":"x","seq":"42","prev_seq":"41"}}`:                              {42, 41},
		`{"message":{"content":"x","seq":"1"}}`:                                               {1, 0},
		`{"message":{"seq":"42","prev_seq":"41","content":"x"}}`:                              {42, 41},
		`{"message":{"content":"\"seq\":\"7\" ","message_id":"12","seq":"42"}}`:               {42, 0},
		`{"message":{"message_id":"9","seq":"18446744073709551615","prev_seq":"1844674407"}}`: {18446744073709551615, 1844674407},
	} {
		seq, previous, err := chainOf([]byte(frame))
		require.NoError(t, err, frame)
		require.Equal(t, want, [2]uint64{seq, previous}, frame)
	}
	_, _, err := chainOf([]byte(`{"message":{"content":"x"}}`))
	require.ErrorIs(t, err, errNoField)
}

func TestScenarioListsEveryProblem(t *testing.T) {
	t.Parallel()
	err := Scenario{TLS: true}.Validate()
	for _, part := range []string{"room", "publisher", "window", "payload", "duration", "encrypted"} {
		require.ErrorContains(t, err, part)
	}
	for _, s := range All() {
		require.NoError(t, s.Validate(), s.Title)
	}
}

func TestBudgetIsMissedWithFaultsAndWithoutFigures(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		c    Comparison
		want bool
	}{
		"met":           {Comparison{Budget: Budget{Ratio: 0.5, PerCPU: 10}, Ratio: 0.6, BareHub: &Result{}, Parley: Result{PerCPU: 11}}, true},
		"ratio too low": {Comparison{Budget: Budget{Ratio: 0.5, PerCPU: 10}, Ratio: 0.4, BareHub: &Result{}, Parley: Result{PerCPU: 11}}, false},
		"too dear":      {Comparison{Budget: Budget{Ratio: 0.5, PerCPU: 10}, Ratio: 0.6, BareHub: &Result{}, Parley: Result{PerCPU: 9}}, false},
		"too heavy":     {Comparison{Budget: Budget{KiB: 8}, Parley: Result{KiBLater: 8.1}}, false},
		"light enough":  {Comparison{Budget: Budget{KiB: 8}, Parley: Result{KiBLater: 8}}, true},
		"with a gap":    {Comparison{Budget: Budget{KiB: 8}, Parley: Result{KiBLater: 1}, Faults: 1}, false},
	} {
		test.c.judge()
		require.NotNil(t, test.c.Met, name)
		require.Equal(t, test.want, *test.c.Met, name)
	}
	c := Comparison{Budget: Budget{Ratio: 0.5}}
	c.judge()
	require.Nil(t, c.Met, "nothing to compare with")
}

// A fault counts in whatever round it was, of either server.
func TestFaultsOfAnyRoundCount(t *testing.T) {
	t.Parallel()
	good := []Result{{PerCPU: 1}, {PerCPU: 2}, {PerCPU: 3}}
	for i := range good {
		bad := slices.Clone(good)
		bad[i].Gaps, bad[i].Refused = 1, 2
		for _, c := range []Comparison{
			compare(Fanout(), slices.Clone(bad), slices.Clone(good)), compare(Fanout(), slices.Clone(good), bad),
		} {
			require.EqualValues(t, 3, c.Faults, "round %d", i)
			require.Equal(t, "**3 faults**", c.verdict())
		}
	}
	require.Zero(t, compare(Fanout(), slices.Clone(good), good).Faults)
}

// A bare hub that was held up flatters whoever is compared with it.
func TestWeakHubIsNoComparison(t *testing.T) {
	t.Parallel()
	with := func(hub float64) Comparison {
		return compare(Fanout(), []Result{{PerCPU: 3e6}}, []Result{{PerCPU: hub}})
	}
	weak := with(3_900_000)
	require.Nil(t, weak.Met)
	require.Contains(t, weak.verdict(), "not told")
	c := with(4_100_000)
	require.NotNil(t, c.Met)
	require.Equal(t, "met", c.verdict())
}

func serverFrame(size int) []byte {
	frame := []byte{0x81}
	switch {
	case size < 126:
		frame = append(frame, byte(size))
	case size < 1<<16:
		frame = append(frame, 126)
		frame = binary.BigEndian.AppendUint16(frame, uint16(size))
	default:
		frame = append(frame, 127)
		frame = binary.BigEndian.AppendUint64(frame, uint64(size))
	}
	return append(frame, make([]byte, size)...)
}
