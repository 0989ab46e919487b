package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/parley-rt/parley/libs/persistence"
)

// lane is an ordering domain.
type lane struct {
	pos, trimPos uint64
	// entries are the events above trimPos, ascending. Trimmed ones stay until their partition is dropped.
	entries []entry
}

// entry is an event's place in its lane.
type entry struct {
	pos    uint64
	part   int32
	stream *stream
	event  persistence.Event
}

// feed gives an event its position. The caller holds the lock.
func (b *Backend) feed(s *stream, e persistence.Event) {
	l, current := b.lanes[s.lane], b.partitions[len(b.partitions)-1]
	l.pos++
	l.entries = append(l.entries, entry{pos: l.pos, part: current.part, stream: s, event: e})
	current.newest[s.lane] = l.pos
	current.rows++
	current.bytes += int64(len(e.Payload) + len(e.Meta))
}

func (b *Backend) lane(n int16) (*lane, error) {
	if n < 0 || int(n) >= len(b.lanes) {
		return nil, fmt.Errorf("there is no lane %d, only %d of them: %w", n, len(b.lanes), persistence.ErrInvalid)
	}
	return b.lanes[n], nil
}

// Lanes implements persistence.Feed.
func (b *Backend) Lanes(ctx context.Context) (heads []persistence.LaneHead, err error) {
	err = b.do(ctx, "list lanes", func() error {
		for i, l := range b.lanes {
			heads = append(heads, persistence.LaneHead{Lane: int16(i), Pos: l.pos, TrimPos: l.trimPos})
		}
		return nil
	})
	return heads, err
}

// ReadLane implements persistence.Feed.
func (b *Backend) ReadLane(ctx context.Context, lane int16, after uint64, limit int) (events []persistence.FeedEvent, next uint64, err error) {
	if err := persistence.ValidateReadLane(limit); err != nil {
		return nil, after, fmt.Errorf("read lane %d: %w", lane, err)
	}
	next = after
	err = b.do(ctx, fmt.Sprintf("read lane %d", lane), func() error {
		l, err := b.lane(lane)
		if err != nil {
			return err
		}
		if after < l.trimPos {
			return fmt.Errorf("after %d, trimmed up to %d: %w", after, l.trimPos, persistence.ErrTrimmed)
		}
		var whole bool
		if events, whole = l.page(after, limit); whole {
			next = max(after, l.pos)
		} else {
			next = events[len(events)-1].Pos
		}
		return nil
	})
	return events, next, err
}

// page copies events above after until they are limit or MaxReadBytes. whole: there are no more.
func (l *lane) page(after uint64, limit int) (page []persistence.FeedEvent, whole bool) {
	i, found := slices.BinarySearchFunc(l.entries, after, func(e entry, after uint64) int { return cmp.Compare(e.pos, after) })
	if found {
		i++
	}
	size := 0
	for _, e := range l.entries[i:] {
		size += len(e.event.Payload) + len(e.event.Meta)
		if len(page) == limit || size > persistence.MaxReadBytes && len(page) > 0 {
			return page, false
		}
		page = append(page, persistence.FeedEvent{Event: copyEvent(e.event), Key: e.stream.head.Key, Pos: e.pos})
	}
	return page, true
}
