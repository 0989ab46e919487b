package core

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

func message(seq, prev uint64, size int) *roomv1.Message {
	return &roomv1.Message{Seq: seq, PrevSeq: prev, Content: strings.Repeat("x", size)}
}

// Every answer of a tail must be what the whole history would answer, or none.
func TestTailAnswersLikeTheHistory(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var history []*roomv1.Message
		tail := &Tail{}
		seq, prev := uint64(0), uint64(0)
		steps := rapid.IntRange(1, 60).Draw(t, "steps")
		for range steps {
			seq += uint64(rapid.IntRange(1, 3).Draw(t, "gap"))
			m := message(seq, prev, rapid.SampledFrom([]int{1, 100, 20_000, 300_000}).Draw(t, "size"))
			prev = seq
			history = append(history, m)
			tail.Append(m)
			if tail.count > TailMessages || tail.bytes > TailBytes {
				t.Fatalf("tail holds %d messages, %d bytes", tail.count, tail.bytes)
			}
		}
		limit := rapid.IntRange(1, 20).Draw(t, "limit")
		maxBytes := rapid.SampledFrom([]int{1, 1000, 50_000, 1 << 20}).Draw(t, "maxBytes")
		bound := uint64(rapid.IntRange(0, int(seq)+2).Draw(t, "bound"))

		page, more, ok := tail.After(bound, limit, maxBytes)
		if ok {
			want, wantMore := after(history, bound, limit, maxBytes)
			same(t, "after", page, want, more, wantMore)
		} else if bound >= tail.Floor() {
			t.Fatalf("no answer after %d with floor %d", bound, tail.Floor())
		}
		page, more, ok = tail.Before(bound, limit, maxBytes, 0)
		if ok {
			want, wantMore := before(history, bound, limit, maxBytes)
			same(t, "before", page, want, more, wantMore)
		}
		for _, m := range history {
			got, ok := tail.At(m.Seq)
			if ok != (m.Seq > tail.Floor()) || ok && got != m {
				t.Fatalf("At(%d) = %v, %v with floor %d", m.Seq, got, ok, tail.Floor())
			}
		}
	})
}

func after(history []*roomv1.Message, bound uint64, limit, maxBytes int) (page []*roomv1.Message, more bool) {
	bytes := 0
	for _, m := range history {
		if m.Seq <= bound {
			continue
		}
		bytes += Weight(m)
		if len(page) == limit || len(page) > 0 && bytes > maxBytes {
			return page, true
		}
		page = append(page, m)
	}
	return page, false
}

func before(history []*roomv1.Message, bound uint64, limit, maxBytes int) (page []*roomv1.Message, more bool) {
	bytes := 0
	for i := len(history) - 1; i >= 0; i-- {
		m := history[i]
		if bound != 0 && m.Seq >= bound {
			continue
		}
		bytes += Weight(m)
		if len(page) == limit || len(page) > 0 && bytes > maxBytes {
			return page, true
		}
		page = append([]*roomv1.Message{m}, page...)
	}
	return page, false
}

func same(t *rapid.T, what string, got, want []*roomv1.Message, gotMore, wantMore bool) {
	if len(got) != len(want) || gotMore != wantMore {
		t.Fatalf("%s: %d messages, more %v; want %d, %v", what, len(got), gotMore, len(want), wantMore)
	}
	for i := range got {
		if got[i].Seq != want[i].Seq {
			t.Fatalf("%s: message %d is %d, want %d", what, i, got[i].Seq, want[i].Seq)
		}
	}
}

func TestTailPrependFillsToTheLimits(t *testing.T) {
	t.Parallel()
	tail := &Tail{floor: 5000}
	require.False(t, tail.Prepend(message(4999, 4998, 1)), "not the message at the floor")
	for seq := uint64(5000); seq > 5000-TailMessages; seq-- {
		require.True(t, tail.Prepend(message(seq, seq-1, 1)))
	}
	require.False(t, tail.Prepend(message(5000-TailMessages, 1, 1)))
	tail.Append(message(5001, 5000, 1))
	require.Equal(t, TailMessages, tail.Len())
	page, more, ok := tail.Before(0, 2, 1<<20, 0)
	require.True(t, ok)
	require.True(t, more)
	require.Equal(t, uint64(5000), page[0].Seq)
}
