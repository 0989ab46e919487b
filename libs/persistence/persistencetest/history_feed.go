package persistencetest

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

	"github.com/parley-rt/parley/libs/persistence"
)

// feedRow is what is compared of an event of the feed.
type feedRow struct {
	row
	key  persistence.StreamKey
	lane int16
	pos  uint64
	// content sums up what the other fields leave out.
	content uint64
}

func newFeedRow(lane int16, e *persistence.FeedEvent) feedRow {
	return feedRow{
		row: row{seq: e.Seq, epoch: e.Epoch, id: e.MessageID},
		key: e.Key, lane: lane, pos: e.Pos, content: contentOf(&e.Event),
	}
}

// contentOf sums up what an event carries.
func contentOf(e *persistence.Event) uint64 {
	sum := fnv.New64a()
	_, _ = fmt.Fprintf(sum, "%d %q %d %d ", e.Codec, e.Manifest, len(e.Meta), len(e.Payload))
	_, _ = sum.Write(e.Meta)
	_, _ = sum.Write(e.Payload)
	return sum.Sum64()
}

// readFeed reads every lane from where nothing is trimmed.
func (c *check) readFeed(ctx context.Context, feed persistence.Feed) error {
	lanes, err := feed.Lanes(ctx)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	for _, lane := range lanes {
		for after := lane.TrimPos; ; {
			events, next, err := feed.ReadLane(ctx, lane.Lane, after, persistence.MaxRead)
			if err != nil {
				return fmt.Errorf("check: %w", err)
			}
			c.add(checkPage("the check", lane.Lane, after, events, next)...)
			for i := range events {
				c.feed = append(c.feed, newFeedRow(lane.Lane, &events[i]))
				if events[i].Pos > lane.Pos {
					c.failed(I6, events[i].Key, "position %d of lane %d is above the lane's own %d", events[i].Pos, lane.Lane, lane.Pos)
				}
			}
			if next <= after {
				break
			}
			after = next
		}
	}
	return nil
}

// compareFeed checks that the feed and the streams have the same events. The feed may still have events that their stream
// has trimmed.
func (c *check) compareFeed() {
	type place struct {
		key persistence.StreamKey
		seq uint64
	}
	seen := map[place]feedRow{}
	last := map[persistence.StreamKey]feedRow{}
	for _, r := range c.feed {
		at := place{r.key, r.seq}
		if other, twice := seen[at]; twice {
			c.failed(I6, r.key, "event %d is in the feed at %d and at %d", r.seq, other.pos, r.pos)
		}
		seen[at] = r
		if before, known := last[r.key]; known {
			if before.lane != r.lane {
				c.failed(I6, r.key, "event %d is in lane %d, event %d in lane %d", before.seq, before.lane, r.seq, r.lane)
			} else if before.seq >= r.seq {
				c.failed(I6, r.key, "event %d comes before event %d in lane %d", before.seq, r.seq, r.lane)
			}
		}
		last[r.key] = r
		stream := c.streams[r.key]
		if r.seq <= stream.head.TrimSeq {
			continue
		}
		if stored, found := stream.at(r.seq); !found || stored != r.row {
			c.failed(I6, r.key, "event %d at position %d of lane %d is %x of epoch %d in the feed and %x of epoch %d in its stream",
				r.seq, r.pos, r.lane, r.id, r.epoch, stored.id, stored.epoch)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.streams)) {
		for _, r := range c.streams[key].rows {
			if _, found := seen[place{key, r.seq}]; !found {
				c.failed(I6, key, "event %d is missing from the feed", r.seq)
			}
		}
	}
}

// compareConsumers checks that what consumers were given on their way is what the feed has now, all of it.
func (c *check) compareConsumers(consumers map[consumerLane]*consumerHistory) {
	feed := map[int16]map[uint64]feedRow{}
	for _, r := range c.feed {
		if feed[r.lane] == nil {
			feed[r.lane] = map[uint64]feedRow{}
		}
		feed[r.lane][r.pos] = r
	}
	for at, consumer := range consumers {
		for pos, r := range feed[at.lane] {
			if _, seen := consumer.seen[pos]; !seen && pos > consumer.first && pos <= consumer.next {
				c.failed(I6, r.key, "%s went from %d to %d of lane %d and was not given event %d at position %d",
					at.consumer, consumer.first, consumer.next, at.lane, r.seq, pos)
			}
		}
		for pos, r := range consumer.seen {
			if now, found := feed[at.lane][pos]; found && now != r {
				c.failed(I6, r.key, "%s was given event %d at position %d of lane %d, where event %d of %s is now",
					at.consumer, r.seq, pos, at.lane, now.seq, now.key)
			}
		}
	}
}
