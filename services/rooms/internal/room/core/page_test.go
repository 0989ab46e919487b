package core

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"

	"github.com/parley-rt/parley/libs/persistence"
)

func TestPageQueryRefusesContradictions(t *testing.T) {
	t.Parallel()
	for _, r := range []*roomv1.Read{
		{AfterSeq: proto.Uint64(1), BeforeSeq: proto.Uint64(5)},
		{BeforeSeq: proto.Uint64(0)},
	} {
		_, ok := NewPageQuery(r, 10, 0)
		require.False(t, ok)
	}
	q, ok := NewPageQuery(&roomv1.Read{Limit: 10_000, MaxBytes: 1 << 30}, 10, 0)
	require.True(t, ok)
	require.Equal(t, PageQuery{Bound: 11, Limit: PageMessages, Bytes: PageBytes, Head: 10}, q)
}

// A page collected from the journal, and one from the tail where it answers, are what the whole history would give. Events
// that are not messages are in between.
func TestPagesAnswerLikeTheHistory(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := liveState()
		var events []persistence.Event
		var history []*roomv1.Message
		for range rapid.IntRange(0, 30).Draw(t, "messages") {
			if rapid.IntRange(0, 2).Draw(t, "ruling") == 0 {
				es, _ := s.Draft(maxContent, everybody).Administer(asked(fmt.Sprint(len(events)), &roomv1.KickMember{MemberId: "eve"}), s.Head()+1, epochTime)
				events = append(events, commit(t, s, es, epochTime)...)
				continue
			}
			size := rapid.SampledFrom([]int{0, 10, 900}).Draw(t, "size")
			es, _ := post(s.Draft(maxContent, everybody), "ada", []*roomv1.Draft{draftOf(string(rune('a'+len(events))), string(make([]byte, size)))}, s.Head()+1, epochTime)
			events = append(events, commit(t, s, es, epochTime)...)
			history = append(history, s.TakeFresh()...)
		}
		trimmed := uint64(rapid.IntRange(0, len(events)).Draw(t, "trimmed"))
		head := uint64(rapid.IntRange(int(trimmed), len(events)).Draw(t, "head"))
		var visible []*roomv1.Message
		for _, m := range history {
			if m.Seq > trimmed && m.Seq <= head {
				visible = append(visible, m)
			}
		}

		read := &roomv1.Read{Limit: uint32(rapid.IntRange(0, 12).Draw(t, "limit")), MaxBytes: rapid.SampledFrom([]uint32{0, 1, 500, 3000}).Draw(t, "bytes")}
		bound := uint64(rapid.IntRange(0, len(events)+2).Draw(t, "bound"))
		direction := rapid.IntRange(0, 2).Draw(t, "direction")
		switch direction {
		case 1:
			read.AfterSeq = &bound
		case 2:
			bound++
			read.BeforeSeq = &bound
		}
		q, ok := NewPageQuery(read, head, trimmed)
		require.True(t, ok)
		want, wantMore := before(visible, 0, q.Limit, q.Bytes)
		switch direction {
		case 1:
			want, wantMore = after(visible, bound, q.Limit, q.Bytes)
		case 2:
			want, wantMore = before(visible, bound, q.Limit, q.Bytes)
		}

		c := NewCollector(q)
		for {
			from, done := c.Next()
			if done {
				break
			}
			n := c.Window()
			require.Positive(t, n)
			require.NoError(t, c.Add(window(events, q.Forward, from, n, trimmed)))
		}
		page, more := c.Page()
		same(t, "journal", page, want, more, wantMore)

		if head == s.Head() {
			if page, more, ok := q.FromTail(s.Tail()); ok {
				same(t, "tail", page, want, more, wantMore)
			}
		}
	})
}

// window reads like persistence.Journal.
func window(events []persistence.Event, forward bool, from uint64, n int, trimmed uint64) []persistence.Event {
	var out []persistence.Event
	if forward {
		for seq := from; seq <= uint64(len(events)) && len(out) < n; seq++ {
			out = append(out, events[seq-1])
		}
		return out
	}
	for seq := from - 1; seq > trimmed && len(out) < n; seq-- {
		out = append(out, events[seq-1])
	}
	return out
}
