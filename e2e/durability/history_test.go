package durability

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The checker must find what it is there to find: each broken history is caught by its promise's name.
func TestCheckFindsBrokenHistories(t *testing.T) {
	t.Parallel()
	at := func(seq, prev uint64, id string) entry {
		return entry{seq: seq, prevSeq: prev, id: id, sender: "m", content: "x"}
	}
	good := []entry{at(1, 0, "p 1"), at(2, 1, "p 2"), at(3, 2, "p 3")}
	cases := []struct {
		name    string
		record  func(*history)
		content []entry
		want    string
	}{
		{"acknowledged and lost", func(h *history) { h.ack("p 4", 4) }, good, "S1"},
		{"acknowledged elsewhere", func(h *history) { h.ack("p 2", 3) }, good, "S1"},
		{"acknowledged twice", func(h *history) { h.ack("p 2", 2); h.ack("p 2", 3) }, good, "S2"},
		{"stored twice", func(*history) {}, []entry{at(1, 0, "p 1"), at(2, 1, "p 1")}, "S3"},
		{"order", func(*history) {}, []entry{at(1, 0, "p 2"), at(2, 1, "p 1")}, "S4"},
		{"broken chain", func(*history) {}, []entry{at(1, 0, "p 1"), at(3, 2, "p 2")}, "S5"},
		{"reader's gap", func(h *history) { h.stream([]entry{good[0], good[2]}) }, good, "S5"},
		{"reader's repeat", func(h *history) { h.stream([]entry{good[0], good[1], good[1]}) }, good, "S5"},
		{"reader's other message", func(h *history) { h.stream([]entry{at(1, 0, "q 1")}) }, good, "S2"},
	}
	for _, test := range cases {
		h := newHistory("r")
		test.record(h)
		found := h.check(test.content)
		require.NotEmpty(t, found, test.name)
		require.Contains(t, found[0], test.want, test.name)
	}
	h := newHistory("r")
	h.ack("p 2", 2)
	h.stream(good[1:])
	require.Empty(t, h.check(good))
	require.Equal(t, []uint64{3}, missing(good[:2], good))
}

func TestRefusedAttemptsAreLeftOutOfTheOrder(t *testing.T) {
	t.Parallel()
	h := newHistory("r")
	h.refuse("p 1")
	require.Empty(t, h.check([]entry{{seq: 1, id: "p 2"}, {seq: 2, prevSeq: 1, id: "p 1"}}))
}
