package sqlite

import (
	"context"
	"fmt"
	"math"

	"github.com/parley-rt/parley/libs/persistence"
)

// checkLane refuses every lane but the one there is.
func checkLane(lane int16) error {
	if lane != 0 {
		return fmt.Errorf("there is no lane %d, only 0: %w", lane, persistence.ErrInvalid)
	}
	return nil
}

// Lanes implements persistence.Feed.
func (b *Backend) Lanes(ctx context.Context) ([]persistence.LaneHead, error) {
	var lane persistence.LaneHead
	if err := b.read(ctx, func(r *reader) (err error) {
		lane, err = r.lane()
		return err
	}); err != nil {
		return nil, fmt.Errorf("list lanes: %w", err)
	}
	return []persistence.LaneHead{lane}, nil
}

func (r *reader) lane() (lane persistence.LaneHead, err error) {
	defer r.st.lane.Reset()
	if _, err := r.st.lane.Step(); err != nil {
		return lane, err
	}
	lane.Pos, lane.TrimPos = uint64(r.st.lane.ColumnInt(0)), uint64(r.st.lane.ColumnInt(1))
	return lane, nil
}

// ReadLane implements persistence.Feed.
func (b *Backend) ReadLane(ctx context.Context, lane int16, after uint64, limit int) (events []persistence.FeedEvent, next uint64, err error) {
	err = persistence.ValidateReadLane(limit)
	if err == nil {
		err = checkLane(lane)
	}
	if err == nil {
		err = b.read(ctx, func(r *reader) error {
			events, next, err = r.readLane(ctx, after, limit)
			return err
		})
	}
	if err != nil {
		return nil, after, fmt.Errorf("read lane %d: %w", lane, err)
	}
	return events, next, nil
}

func (r *reader) readLane(ctx context.Context, after uint64, limit int) (events []persistence.FeedEvent, next uint64, err error) {
	lane, err := r.lane()
	switch {
	case err != nil:
		return nil, after, err
	case after < lane.TrimPos:
		return nil, after, fmt.Errorf("after %d, trimmed up to %d: %w", after, lane.TrimPos, persistence.ErrTrimmed)
	case after >= lane.Pos:
		return nil, after, nil
	}
	s := r.st.laneEvents
	s.Int(1, int64(min(after, math.MaxInt64)))
	defer s.Reset()
	events = make([]persistence.FeedEvent, 0, min(uint64(limit), lane.Pos-after, eventsAhead))
	manifest, size := "", 0
	for {
		row, err := s.Step()
		if err != nil {
			return nil, after, err
		}
		if !row {
			return events, lane.Pos, nil
		}
		size += s.ColumnBytes(6) + s.ColumnBytes(7)
		if len(events) == limit || size > persistence.MaxReadBytes && len(events) > 0 {
			return events, events[len(events)-1].Pos, nil
		}
		events = append(events, persistence.FeedEvent{
			Event: scanEvent(s, &manifest), Pos: uint64(s.ColumnInt(8)), Key: persistence.StreamKey(s.ColumnText(9)),
		})
		if len(events)%checkEvery == 0 && ctx.Err() != nil {
			return nil, after, fmt.Errorf("%w: %w", persistence.ErrUnavailable, ctx.Err())
		}
	}
}
