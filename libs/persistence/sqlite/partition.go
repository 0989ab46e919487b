package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/sqlite/internal/lite"
)

// Rotate implements persistence.Maintenance.
func (b *Backend) Rotate(ctx context.Context, part int32) error {
	err := persistence.ValidatePart(part)
	if err == nil {
		err = b.submit(ctx, &request{mutation: rotateMutation{int64(part)}, events: 1})
	}
	if err != nil {
		return fmt.Errorf("rotate to partition %d: %w", part, err)
	}
	return nil
}

type rotateMutation struct{ part int64 }

func (m rotateMutation) apply(w *writer) error {
	if m.part <= w.part {
		return nil
	}
	if err := w.newSegment(m.part, w.pos); err != nil {
		return err
	}
	w.part = m.part
	w.st.setPart.Int(1, m.part)
	return w.st.setPart.Run()
}

// newSegment closes the open segment at the last position given and opens one above the position after, for part.
func (w *writer) newSegment(part, after int64) error {
	w.st.closeSegment.Int(1, w.pos)
	if err := w.st.closeSegment.Run(); err != nil {
		return err
	}
	w.st.openSegment.Int(1, part)
	w.st.openSegment.Int(2, after)
	return w.st.openSegment.Run()
}

// partition is what the segments say of one.
type partition struct {
	persistence.Partition
	// newest is the last position that an event of it was given; 0: none.
	newest int64
}

// partitions returns those there are, ascending.
func (r *reader) partitions() (list []partition, err error) {
	lane, err := r.lane()
	if err != nil {
		return nil, err
	}
	s := r.st.partitions
	s.Int(1, int64(lane.Pos))
	defer s.Reset()
	for {
		row, err := s.Step()
		if err != nil || !row {
			return list, err
		}
		part, after, last := int32(s.ColumnInt(0)), s.ColumnInt(1), s.ColumnInt(2)
		if len(list) == 0 || list[len(list)-1].Part != part {
			list = append(list, partition{Partition: persistence.Partition{Part: part}})
		}
		p := &list[len(list)-1]
		p.Current = s.ColumnInt(3) != 0
		if last > after {
			p.Rows += last - after
			p.newest = last
		}
	}
}

// Partitions implements persistence.Maintenance. Rows are those written; trimmed ones may be gone already.
func (b *Backend) Partitions(ctx context.Context) ([]persistence.Partition, error) {
	var list []persistence.Partition
	if err := b.read(ctx, func(r *reader) error {
		found, err := r.partitions()
		for i := range found {
			list = append(list, found[i].Partition)
		}
		return err
	}); err != nil {
		return nil, fmt.Errorf("list partitions: %w", err)
	}
	return list, nil
}

// DropPartitions implements persistence.Maintenance. It returns when the events are invisible; their rows are deleted
// afterwards, some with each commit, as trimmed ones are.
func (b *Backend) DropPartitions(ctx context.Context, upTo int32) (dropped []int32, err error) {
	for {
		part, found, err := b.dropOldest(ctx, upTo)
		if err != nil {
			return dropped, fmt.Errorf("drop partitions up to %d: %w", upTo, err)
		}
		if !found {
			return dropped, nil
		}
		dropped = append(dropped, part)
	}
}

// errDropped: somebody else dropped it meanwhile.
var errDropped = errors.New("partition is gone")

// dropOldest drops the oldest partition up to upTo if there is one. Whether a stream needs it is found out beside the
// writer: nothing is added to a partition that is not the current one and snapshots only move on, so a stream that does
// not need it never will. Checkpoints come and go, so they are looked at again by the one who drops.
func (b *Backend) dropOldest(ctx context.Context, upTo int32) (part int32, found bool, err error) {
	for {
		m := &dropMutation{}
		err := b.read(ctx, func(r *reader) error {
			m.partition, found, err = r.droppable(upTo)
			return err
		})
		if err != nil || !found {
			return 0, false, err
		}
		err = b.submit(ctx, &request{mutation: m, events: 1})
		if !errors.Is(err, errDropped) {
			return m.partition.Part, true, err
		}
	}
}

// droppable returns the oldest partition up to upTo, or who needs it.
func (r *reader) droppable(upTo int32) (oldest partition, found bool, err error) {
	list, err := r.partitions()
	if err != nil {
		return oldest, false, err
	}
	if current := list[len(list)-1].Part; upTo >= current {
		return oldest, false, fmt.Errorf("events go to partition %d: %w", current, persistence.ErrConflict)
	}
	if oldest = list[0]; oldest.Part > upTo {
		return oldest, false, nil
	}
	blocked := &persistence.BlockedError{Part: oldest.Part}
	s := r.st.blockers
	s.Int(1, oldest.newest)
	defer s.Reset()
	if _, err := s.Step(); err != nil {
		return oldest, false, err
	}
	if blocked.Streams = s.ColumnInt(0); blocked.Streams > 0 {
		if blocked.Keys, err = r.blockedKeys(oldest.newest); err != nil {
			return oldest, false, err
		}
	}
	if blocked.Checkpoints, err = checkpointsBehind(r.st.checkpointsBehind, oldest.newest); err != nil {
		return oldest, false, err
	}
	if blocked.Streams > 0 || len(blocked.Checkpoints) > 0 {
		return oldest, false, blocked
	}
	return oldest, true, nil
}

func (r *reader) blockedKeys(newest int64) (keys []persistence.StreamKey, err error) {
	s := r.st.blockedKeys
	s.Int(1, newest)
	s.Int(2, persistence.MaxBlockedKeys)
	defer s.Reset()
	for {
		row, err := s.Step()
		if err != nil || !row {
			return keys, err
		}
		keys = append(keys, persistence.StreamKey(s.ColumnText(0)))
	}
}

// checkpointsBehind returns the names of the consumers that have not passed pos.
func checkpointsBehind(s *lite.Stmt, pos int64) (names []string, err error) {
	s.Int(1, pos)
	defer s.Reset()
	for {
		row, err := s.Step()
		if err != nil || !row {
			return names, err
		}
		names = append(names, s.ColumnText(0))
	}
}

type dropMutation struct{ partition partition }

// apply makes the partition invisible: one row of the lane says so for all streams.
func (m *dropMutation) apply(w *writer) error {
	names, err := checkpointsBehind(w.st.checkpointsBehind, m.partition.newest)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return &persistence.BlockedError{Part: m.partition.Part, Checkpoints: names}
	}
	w.st.dropPart.Int(1, int64(m.partition.Part))
	if err := w.st.dropPart.Run(); err != nil {
		return err
	}
	if w.conn.Changes() == 0 {
		return errDropped
	}
	w.purges.dropped = true
	w.st.trimLane.Int(1, m.partition.newest)
	return w.st.trimLane.Run()
}
