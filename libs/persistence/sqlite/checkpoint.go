package sqlite

import (
	"context"
	"fmt"

	"github.com/parley-rt/parley/libs/persistence"
)

// ClaimCheckpoint implements persistence.Feed.
func (b *Backend) ClaimCheckpoint(ctx context.Context, name string, lane int16, owner string) (persistence.Checkpoint, error) {
	err := persistence.ValidateCheckpoint(name, owner)
	if err == nil {
		err = checkLane(lane)
	}
	m := &claimCheckpoint{checkpoint: persistence.Checkpoint{Name: name, Lane: lane, Owner: owner}}
	if err == nil {
		err = b.submit(ctx, &request{mutation: m, events: 1, bytes: len(name) + len(owner)})
	}
	if err != nil {
		return persistence.Checkpoint{}, fmt.Errorf("claim checkpoint %s: %w", name, err)
	}
	return m.checkpoint, nil
}

type claimCheckpoint struct{ checkpoint persistence.Checkpoint }

func (m *claimCheckpoint) apply(w *writer) error {
	epoch, trim, err := w.nextCheckpointEpoch(m.checkpoint.Lane)
	if err != nil {
		return err
	}
	s := w.st.claimCheckpoint
	s.Text(1, m.checkpoint.Name)
	s.Int(2, int64(m.checkpoint.Lane))
	s.Int(3, trim)
	s.Int(4, epoch)
	s.Text(5, m.checkpoint.Owner)
	if _, err := s.Step(); err != nil {
		return err
	}
	m.checkpoint.Epoch, m.checkpoint.Pos = uint64(epoch), uint64(s.ColumnInt(0))
	return s.Run()
}

// nextCheckpointEpoch also tells where the lane begins.
func (w *writer) nextCheckpointEpoch(lane int16) (epoch, trim int64, err error) {
	s := w.st.checkpointEpoch
	s.Int(1, int64(lane))
	if _, err := s.Step(); err != nil {
		return 0, 0, err
	}
	epoch, trim = s.ColumnInt(0), s.ColumnInt(1)
	return epoch, trim, s.Run()
}

// SaveCheckpoint implements persistence.Feed.
func (b *Backend) SaveCheckpoint(ctx context.Context, c persistence.Checkpoint, pos uint64) error {
	err := persistence.ValidateCheckpoint(c.Name, c.Owner)
	if err == nil {
		err = b.submit(ctx, &request{mutation: saveCheckpoint{checkpoint: c, pos: pos}, events: 1, bytes: len(c.Name)})
	}
	if err != nil {
		return fmt.Errorf("save checkpoint %s of lane %d: %w", c.Name, c.Lane, err)
	}
	return nil
}

type saveCheckpoint struct {
	checkpoint persistence.Checkpoint
	pos        uint64
}

func (m saveCheckpoint) apply(w *writer) error {
	if m.pos <= uint64(w.pos) {
		s := w.st.saveCheckpoint
		s.Text(1, m.checkpoint.Name)
		s.Int(2, int64(m.checkpoint.Lane))
		s.Int(3, int64(m.checkpoint.Epoch))
		s.Int(4, int64(m.pos))
		if err := s.Run(); err != nil {
			return err
		}
		if w.conn.Changes() > 0 {
			w.moved = true
			return nil
		}
	}
	return m.refusal(w)
}

func (m saveCheckpoint) refusal(w *writer) error {
	s := w.st.checkpoint
	s.Text(1, m.checkpoint.Name)
	s.Int(2, int64(m.checkpoint.Lane))
	row, err := s.Step()
	if err != nil {
		return err
	}
	defer s.Reset()
	switch {
	case !row:
		return fmt.Errorf("it was deleted: %w", persistence.ErrFenced)
	case uint64(s.ColumnInt(1)) != m.checkpoint.Epoch:
		return fmt.Errorf("epoch %d lost to epoch %d of %q: %w",
			m.checkpoint.Epoch, s.ColumnInt(1), s.ColumnText(2), persistence.ErrFenced)
	default:
		return fmt.Errorf("move from %d to %d in a lane that ends at %d: %w", s.ColumnInt(0), m.pos, w.pos, persistence.ErrConflict)
	}
}

// DeleteCheckpoint implements persistence.Feed.
func (b *Backend) DeleteCheckpoint(ctx context.Context, name string) error {
	err := persistence.ValidateCheckpointName(name)
	if err == nil {
		err = b.submit(ctx, &request{mutation: deleteCheckpoint{name}, events: 1, bytes: len(name)})
	}
	if err != nil {
		return fmt.Errorf("delete checkpoint %s: %w", name, err)
	}
	return nil
}

type deleteCheckpoint struct{ name string }

func (m deleteCheckpoint) apply(w *writer) error {
	w.moved = true
	w.st.deleteCheckpoint.Text(1, m.name)
	return w.st.deleteCheckpoint.Run()
}

// Checkpoints implements persistence.Feed.
func (b *Backend) Checkpoints(ctx context.Context) (list []persistence.Checkpoint, err error) {
	if err := b.read(ctx, func(r *reader) error {
		list, err = r.checkpoints()
		return err
	}); err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	return list, nil
}

func (r *reader) checkpoints() (list []persistence.Checkpoint, err error) {
	s := r.st.checkpoints
	defer s.Reset()
	for {
		row, err := s.Step()
		if err != nil || !row {
			return list, err
		}
		list = append(list, persistence.Checkpoint{
			Name: s.ColumnText(0), Lane: int16(s.ColumnInt(1)), Pos: uint64(s.ColumnInt(2)),
			Epoch: uint64(s.ColumnInt(3)), Owner: s.ColumnText(4),
		})
	}
}
