package persistencetest_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/persistencetest"
)

// shelf is a store that has whatever a test puts on it, right or wrong. Only what History.Check calls works.
type shelf struct {
	persistence.Journal
	persistence.Feed
	streams map[persistence.StreamKey][]persistence.Event
	lanes   [][]persistence.FeedEvent
	head    map[persistence.StreamKey]uint64 // instead of the last event's seq
	trim    map[persistence.StreamKey]uint64
	corrupt bool
}

func (s *shelf) Head(_ context.Context, key persistence.StreamKey) (persistence.Head, error) {
	h := persistence.Head{Key: key, Epoch: 9, LastSeq: s.head[key], TrimSeq: s.trim[key]}
	if events := s.streams[key]; h.LastSeq == 0 && len(events) > 0 {
		h.LastSeq = events[len(events)-1].Seq
	}
	return h, nil
}

func (s *shelf) Read(_ context.Context, key persistence.StreamKey, from uint64, limit int) ([]persistence.Event, error) {
	if s.corrupt {
		return nil, fmt.Errorf("a hole: %w", persistence.ErrCorrupt)
	}
	i := slices.IndexFunc(s.streams[key], func(e persistence.Event) bool { return e.Seq >= from })
	if i < 0 {
		return nil, nil
	}
	return s.streams[key][i:min(len(s.streams[key]), i+min(limit, 2))], nil
}

func (s *shelf) Lanes(context.Context) ([]persistence.LaneHead, error) {
	var lanes []persistence.LaneHead
	for i, events := range s.lanes {
		lane := persistence.LaneHead{Lane: int16(i)}
		for _, e := range events {
			lane.Pos = max(lane.Pos, e.Pos)
		}
		lanes = append(lanes, lane)
	}
	return lanes, nil
}

func (s *shelf) ReadLane(_ context.Context, lane int16, after uint64, _ int) ([]persistence.FeedEvent, uint64, error) {
	i := slices.IndexFunc(s.lanes[lane], func(e persistence.FeedEvent) bool { return e.Pos > after })
	if i < 0 {
		return nil, after, nil
	}
	page := s.lanes[lane][i:]
	return page, page[len(page)-1].Pos, nil
}

func id(n int) [16]byte { return [16]byte{byte(n)} }

// told is a history of two activations of room/1, and the store that goes with it: events 1 and 2 of epoch 1, one append
// refused, one of two events lost on the way back (3 and 4), and event 5 of epoch 2.
func told() (*persistencetest.History, *shelf) {
	h := persistencetest.NewHistory()
	one := persistence.Claim{Key: "room/1", StreamID: 1, Epoch: 1}
	h.Claimed("first", one)
	h.Begin("first", one, 0, id(1), id(2)).Ack(2)
	h.Begin("first", one, 2, id(90)).End(0, persistence.ErrOverloaded)
	h.Begin("first", one, 2, id(3), id(4)).End(0, fmt.Errorf("lost: %w", persistence.ErrUnknown))
	two := persistence.Claim{Key: "room/1", StreamID: 1, Epoch: 2, LastSeq: 4}
	h.Claimed("second", two)
	h.Begin("first", one, 4, id(91)).End(0, &persistence.FencedError{})
	h.Begin("second", two, 4, id(5)).Ack(5)
	h.Begin("second", two, 5, id(6), id(7)) // the process died

	s := &shelf{streams: map[persistence.StreamKey][]persistence.Event{}, lanes: make([][]persistence.FeedEvent, 2)}
	for seq, epoch := range []uint64{1, 1, 1, 1, 2} {
		e := persistence.Event{MessageID: id(seq + 1), Seq: uint64(seq + 1), Epoch: epoch, Payload: []byte{byte(seq)}}
		s.streams["room/1"] = append(s.streams["room/1"], e)
		s.lanes[1] = append(s.lanes[1], persistence.FeedEvent{Event: e, Key: "room/1", Pos: 10 * e.Seq})
	}
	h.Page("projection", 1, 0, s.lanes[1][:2], 25)
	h.Page("projection", 1, 10, s.lanes[1][1:4], 40) // again from its checkpoint
	return h, s
}

func check(t *testing.T, h *persistencetest.History, s *shelf) []persistencetest.Violation {
	t.Helper()
	violations, err := h.Check(t.Context(), s, s)
	require.NoError(t, err)
	return violations
}

func TestHistoryOfAGoodStore(t *testing.T) {
	t.Parallel()
	h, s := told()
	require.Empty(t, check(t, h, s))

	s.streams["room/1"] = slices.Delete(s.streams["room/1"], 0, 3) // what a stream trimmed, the feed may still have
	s.trim = map[persistence.StreamKey]uint64{"room/1": 3}
	require.Empty(t, check(t, h, s))
	s.lanes[1] = slices.Delete(s.lanes[1], 0, 3)
	require.Empty(t, check(t, h, s))
	violations, err := h.Check(t.Context(), s, nil)
	require.NoError(t, err)
	require.Empty(t, violations)
}

// Each case breaks the store or the history in one way, in both of the store's views unless it is about the feed.
func TestHistoryOfABrokenStore(t *testing.T) {
	t.Parallel()
	row := func(s *shelf, seq int) (*persistence.Event, *persistence.FeedEvent) {
		return &s.streams["room/1"][seq-1], &s.lanes[1][seq-1]
	}
	change := func(s *shelf, seq int, to func(*persistence.Event)) {
		e, f := row(s, seq)
		to(e)
		to(&f.Event)
	}
	push := func(s *shelf, e persistence.Event) {
		e.Seq = uint64(len(s.streams["room/1"]) + 1)
		s.streams["room/1"] = append(s.streams["room/1"], e)
		s.lanes[1] = append(s.lanes[1], persistence.FeedEvent{Event: e, Key: "room/1", Pos: 10 * e.Seq})
	}
	remove := func(s *shelf, from, to int) {
		s.streams["room/1"] = slices.Delete(s.streams["room/1"], from-1, to)
		s.lanes[1] = slices.Delete(s.lanes[1], from-1, to)
	}
	claim := func(epoch, lastSeq uint64) persistence.Claim {
		return persistence.Claim{Key: "room/1", StreamID: 1, Epoch: epoch, LastSeq: lastSeq}
	}
	for name, test := range map[string]struct {
		want   persistencetest.Invariant
		says   string
		damage func(h *persistencetest.History, s *shelf)
	}{
		"acknowledged tail is missing": {persistencetest.I1, "event 5, acknowledged to second in epoch 2, is missing", func(_ *persistencetest.History, s *shelf) {
			remove(s, 5, 5)
		}},
		"acknowledged event of another epoch": {persistencetest.I1, "acknowledged to first was", func(_ *persistencetest.History, s *shelf) {
			change(s, 1, func(e *persistence.Event) { e.Epoch = 0 })
		}},
		"acknowledged events in another order": {persistencetest.I1, "event 1 is 02", func(_ *persistencetest.History, s *shelf) {
			change(s, 1, func(e *persistence.Event) { e.MessageID = id(2) })
			change(s, 2, func(e *persistence.Event) { e.MessageID = id(1) })
		}},
		"one seq acknowledged twice": {persistencetest.I1, "seq 5 was acknowledged to second and to third", func(h *persistencetest.History, _ *shelf) {
			h.Begin("third", claim(2, 0), 4, id(50)).Ack(5)
		}},
		"acknowledged at another seq": {persistencetest.I1, "append of 1 events after 5 by second returned 7", func(h *persistencetest.History, s *shelf) {
			h.Begin("second", claim(2, 0), 5, id(60)).Ack(7)
			push(s, persistence.Event{MessageID: id(60), Epoch: 2})
		}},
		"hole": {persistencetest.I2, "seq 5 follows 3", func(_ *persistencetest.History, s *shelf) {
			remove(s, 4, 4)
		}},
		"head above the events": {persistencetest.I2, "events end at 5, the head is 8", func(_ *persistencetest.History, s *shelf) {
			s.head = map[persistence.StreamKey]uint64{"room/1": 8}
		}},
		"corrupt by its own word": {persistencetest.I2, "a hole", func(_ *persistencetest.History, s *shelf) {
			s.corrupt = true
		}},
		"falling epochs": {persistencetest.I3, "epoch falls from 2 to 1 at 4", func(_ *persistencetest.History, s *shelf) {
			change(s, 3, func(e *persistence.Event) { e.Epoch = 2 })
		}},
		"epoch above the head's": {persistencetest.I3, "an event has epoch 10, the head 9", func(h *persistencetest.History, s *shelf) {
			h.Begin("tenth", claim(10, 5), 5, id(60)).Ack(6)
			push(s, persistence.Event{MessageID: id(60), Epoch: 10})
		}},
		"older append after a claim": {persistencetest.I3, "event 5 has an older epoch than 3, but the claim of that by late returned the head 3", func(h *persistencetest.History, _ *shelf) {
			h.Claimed("late", claim(3, 3))
		}},
		"claim that missed its own events": {persistencetest.I3, "event 6 has epoch 3, but the claim of epoch 3 by third returned the head 7", func(h *persistencetest.History, s *shelf) {
			h.Claimed("third", claim(3, 7))
			h.Begin("third", claim(3, 7), 5, id(60)).Ack(6)
			push(s, persistence.Event{MessageID: id(60), Epoch: 3})
		}},
		"one epoch given twice": {persistencetest.I4, "epoch 2 was given to second and to twin", func(h *persistencetest.History, _ *shelf) {
			h.Claimed("twin", claim(2, 4))
		}},
		"two writers in one epoch": {persistencetest.I4, "epoch 2 has events of second and, at 6, of twin", func(h *persistencetest.History, s *shelf) {
			h.Begin("twin", claim(2, 4), 5, id(60)).Ack(6)
			push(s, persistence.Event{MessageID: id(60), Epoch: 2})
		}},
		"id twice": {persistencetest.I5, "is stored at 5 and at 6", func(h *persistencetest.History, s *shelf) {
			h.Begin("second", claim(2, 4), 5, id(5)).Ack(6)
			push(s, persistence.Event{MessageID: id(5), Epoch: 2})
		}},
		"nobody's event": {persistencetest.I7, "which nobody appended", func(_ *persistencetest.History, s *shelf) {
			push(s, persistence.Event{MessageID: id(99), Epoch: 2})
		}},
		"nobody's stream": {persistencetest.I7, "which nobody appended", func(_ *persistencetest.History, s *shelf) {
			e := persistence.Event{MessageID: id(99), Epoch: 2, Seq: 1}
			s.streams["room/2"] = []persistence.Event{e}
			s.lanes[0] = []persistence.FeedEvent{{Event: e, Key: "room/2", Pos: 1}}
		}},
		"refused and stored": {persistencetest.I7, "although the append by first in epoch 1 was refused", func(_ *persistencetest.History, s *shelf) {
			change(s, 3, func(e *persistence.Event) { e.MessageID = id(90) })
		}},
		"fenced and stored": {persistencetest.I7, "although the append by first in epoch 1 was refused", func(_ *persistencetest.History, s *shelf) {
			push(s, persistence.Event{MessageID: id(91), Epoch: 2})
		}},
		"unknown and stored in part": {persistencetest.I7, "1 of the 2 events after 5 by second are stored", func(_ *persistencetest.History, s *shelf) {
			push(s, persistence.Event{MessageID: id(6), Epoch: 2})
		}},
		"unknown and stored elsewhere": {persistencetest.I7, "although second wanted it after 5", func(_ *persistencetest.History, s *shelf) {
			push(s, persistence.Event{MessageID: id(7), Epoch: 2})
			push(s, persistence.Event{MessageID: id(6), Epoch: 2})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, s := told()
			test.damage(h, s)
			requireViolation(t, check(t, h, s), test.want, test.says)
		})
	}
}

func TestHistoryOfABrokenFeed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		says   string
		damage func(h *persistencetest.History, s *shelf)
	}{
		"an event is missing": {"event 3 is missing from the feed", func(_ *persistencetest.History, s *shelf) {
			s.lanes[1] = slices.Delete(s.lanes[1], 2, 3)
		}},
		"an event is there twice": {"event 5 is in the feed at 50 and at 60", func(_ *persistencetest.History, s *shelf) {
			again := s.lanes[1][4]
			again.Pos = 60
			s.lanes[1] = append(s.lanes[1], again)
		}},
		"an event is another one": {"event 5 at position 50 of lane 1 is", func(_ *persistencetest.History, s *shelf) {
			s.lanes[1][4].MessageID = id(44)
		}},
		"events out of order": {"event 4 comes before event 3", func(_ *persistencetest.History, s *shelf) {
			s.lanes[1][2].Event, s.lanes[1][3].Event = s.lanes[1][3].Event, s.lanes[1][2].Event
		}},
		"a stream in two lanes": {"event 4 is in lane 0, event 1 in lane 1", func(_ *persistencetest.History, s *shelf) {
			s.lanes[0] = append(s.lanes[0], s.lanes[1][3])
			s.lanes[1] = slices.Delete(s.lanes[1], 3, 4)
		}},
		"positions fall": {"was given position 30 of lane 1 after 40", func(_ *persistencetest.History, s *shelf) {
			s.lanes[1][2].Pos, s.lanes[1][3].Pos = 40, 30
		}},
		"a consumer is given an event behind its cursor": {"was given position 10 of lane 1 after 40", func(h *persistencetest.History, s *shelf) {
			h.Page("projection", 1, 40, s.lanes[1][:1], 50)
		}},
		"a page ends before its events": {"was to go on at 45 of lane 1 after events up to 50", func(h *persistencetest.History, s *shelf) {
			h.Page("projection", 1, 40, s.lanes[1][4:], 45)
		}},
		"a consumer left pages out": {"went on at 50 of lane 1, its last page ended at 40", func(h *persistencetest.History, _ *shelf) {
			h.Page("projection", 1, 50, nil, 50)
		}},
		"an event appeared behind a consumer": {"went from 0 to 55 of lane 1 and was not given event 5 at position 50", func(h *persistencetest.History, _ *shelf) {
			h.Page("projection", 1, 40, nil, 55)
		}},
		"a consumer was given another event": {"was given event 5 at position 50 of lane 1, where event 5 of room/1 is now", func(h *persistencetest.History, s *shelf) {
			other := s.lanes[1][4]
			other.Payload = []byte("before")
			h.Page("projection", 1, 40, []persistence.FeedEvent{other}, 50)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, s := told()
			test.damage(h, s)
			requireViolation(t, check(t, h, s), persistencetest.I6, test.says)
		})
	}
}

func requireViolation(t *testing.T, violations []persistencetest.Violation, want persistencetest.Invariant, says string) {
	t.Helper()
	var all string
	found := false
	for _, v := range violations {
		all += v.String() + "\n"
		found = found || v.Invariant == want
	}
	require.True(t, found, "%s is reported; found:\n%s", want, all)
	require.Contains(t, all, string(want)+": ")
	require.Contains(t, all, says)
}
