package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/sqlite/internal/lite"
)

// BlockMember implements persistence.BlockStore.
func (b *Backend) BlockMember(ctx context.Context, member string, lasting time.Duration, reason, by string) (persistence.Block, error) {
	m := &blockMember{lasting: lasting, block: persistence.Block{Member: member, Reason: reason, By: by}}
	err := persistence.ValidateBlock(member, lasting, reason, by)
	if err == nil {
		err = b.submit(ctx, &request{mutation: m, events: 1, bytes: len(member) + len(reason) + len(by)})
	}
	if err != nil {
		return persistence.Block{}, fmt.Errorf("block member: %w", err)
	}
	return m.block, nil
}

type blockMember struct {
	lasting time.Duration
	block   persistence.Block
}

// apply also removes blocks that have ended: nobody else does.
func (m *blockMember) apply(w *writer) error {
	s := w.st.endedBlocks
	s.Int(1, w.at.UnixNano())
	if err := s.Run(); err != nil {
		return err
	}
	s = w.st.blockRevision
	if row, err := s.Step(); err != nil || !row {
		return fmt.Errorf("no revision of blocks: %w", missingRow(err))
	}
	revision := s.ColumnInt(0)
	s.Reset()
	at, until := w.at.UnixNano(), int64(0)
	if m.lasting > 0 {
		until = w.at.Add(m.lasting).UnixNano()
	}
	s = w.st.blockMember
	s.Text(1, m.block.Member)
	s.Text(2, m.block.Reason)
	s.Text(3, m.block.By)
	s.Int(4, at)
	s.Int(5, until)
	s.Int(6, revision)
	m.block.At, m.block.Until, m.block.Revision = fromNanos(at), endOf(until), uint64(revision)
	return s.Run()
}

// missingRow names the reason for a row that is not there.
func missingRow(err error) error {
	if err == nil {
		return persistence.ErrCorrupt
	}
	return err
}

// endOf is the end of a block as it is stored.
func endOf(until int64) time.Time {
	if until == 0 {
		return time.Time{}
	}
	return fromNanos(until)
}

// UnblockMember implements persistence.BlockStore.
func (b *Backend) UnblockMember(ctx context.Context, member string) (bool, error) {
	m := &unblockMember{member: member}
	err := persistence.ValidateMember(member)
	if err == nil {
		err = b.submit(ctx, &request{mutation: m, events: 1, bytes: len(member)})
	}
	if err != nil {
		return false, fmt.Errorf("unblock member: %w", err)
	}
	return m.was, nil
}

type unblockMember struct {
	member string
	was    bool
}

func (m *unblockMember) apply(w *writer) error {
	s := w.st.unblockMember
	s.Text(1, m.member)
	row, err := s.Step()
	if err != nil {
		return err
	}
	if m.was = false; row {
		until := s.ColumnInt(0)
		m.was = until == 0 || until > w.at.UnixNano()
	}
	s.Reset()
	return nil
}

// BlockOf implements persistence.BlockStore.
func (b *Backend) BlockOf(ctx context.Context, member string) (*persistence.Block, error) {
	err := persistence.ValidateMember(member)
	var found []persistence.Block
	if err == nil {
		err = b.read(ctx, func(r *reader) error {
			s := r.st.blockOf
			s.Int(1, b.now().UnixNano())
			s.Text(2, member)
			found, err = blocksIn(s)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("look for block of member: %w", err)
	}
	if len(found) == 0 {
		return nil, nil
	}
	return &found[0], nil
}

// blocksIn reads the rows of a statement.
func blocksIn(s *lite.Stmt) (blocks []persistence.Block, err error) {
	defer s.Reset()
	for {
		row, err := s.Step()
		if err != nil || !row {
			return blocks, err
		}
		blocks = append(blocks, persistence.Block{
			Member: s.ColumnText(0), Reason: s.ColumnText(1), By: s.ColumnText(2), At: fromNanos(s.ColumnInt(3)),
			Until: endOf(s.ColumnInt(4)), Revision: uint64(s.ColumnInt(5)),
		})
	}
}

// ListBlocks implements persistence.BlockStore.
func (b *Backend) ListBlocks(ctx context.Context, after string, limit int) (blocks []persistence.Block, err error) {
	if err = persistence.ValidateReadLane(limit); err == nil {
		err = b.read(ctx, func(r *reader) error {
			s := r.st.blocks
			s.Int(1, b.now().UnixNano())
			s.Text(2, after)
			s.Int(3, int64(limit))
			blocks, err = blocksIn(s)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("list blocks: %w", err)
	}
	return blocks, nil
}

// BlocksSince implements persistence.BlockStore. The newest revision is read first: one that is stored in between is told the
// next time.
func (b *Backend) BlocksSince(ctx context.Context, since uint64, limit int) (blocks []persistence.Block, newest uint64, err error) {
	if err = persistence.ValidateReadLane(limit); err == nil {
		err = b.read(ctx, func(r *reader) error {
			s := r.st.newestBlock
			if _, err := s.Step(); err != nil {
				return err
			}
			newest = uint64(s.ColumnInt(0))
			s.Reset()
			if newest <= since {
				blocks = nil
				return nil
			}
			s = r.st.blocksSince
			s.Int(1, b.now().UnixNano())
			s.Int(2, int64(min(since, 1<<62)))
			s.Int(3, int64(limit))
			blocks, err = blocksIn(s)
			return err
		})
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read blocks: %w", err)
	}
	return blocks, newest, nil
}
