package memory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// BlockMember implements persistence.BlockStore.
func (b *Backend) BlockMember(ctx context.Context, member string, lasting time.Duration, reason, by string) (out persistence.Block, err error) {
	err = b.do(ctx, "block member", func() error {
		if err := persistence.ValidateBlock(member, lasting, reason, by); err != nil {
			return err
		}
		b.blockRevision++
		out = persistence.Block{Member: member, Reason: reason, By: by, At: b.now(), Revision: b.blockRevision}
		if lasting > 0 {
			out.Until = out.At.Add(lasting)
		}
		b.blocks[member] = out
		return nil
	})
	return out, err
}

// UnblockMember implements persistence.BlockStore.
func (b *Backend) UnblockMember(ctx context.Context, member string) (was bool, err error) {
	err = b.do(ctx, "unblock member", func() error {
		if err := persistence.ValidateMember(member); err != nil {
			return err
		}
		was = b.inForce(b.blocks[member])
		delete(b.blocks, member)
		return nil
	})
	return was, err
}

// inForce tells whether a block is one, and has not ended.
func (b *Backend) inForce(block persistence.Block) bool {
	return block.Revision > 0 && (block.Until.IsZero() || block.Until.After(b.now()))
}

// BlockOf implements persistence.BlockStore.
func (b *Backend) BlockOf(ctx context.Context, member string) (out *persistence.Block, err error) {
	err = b.do(ctx, "look for block of member", func() error {
		if err := persistence.ValidateMember(member); err != nil {
			return err
		}
		if block := b.blocks[member]; b.inForce(block) {
			out = &block
		}
		return nil
	})
	return out, err
}

// ListBlocks implements persistence.BlockStore.
func (b *Backend) ListBlocks(ctx context.Context, after string, limit int) (out []persistence.Block, err error) {
	err = b.do(ctx, "list blocks", func() error {
		out, err = b.blocksWhere(limit, func(x persistence.Block) bool { return x.Member > after },
			func(x, y persistence.Block) int { return cmp.Compare(x.Member, y.Member) })
		return err
	})
	return out, err
}

// BlocksSince implements persistence.BlockStore.
func (b *Backend) BlocksSince(ctx context.Context, since uint64, limit int) (out []persistence.Block, newest uint64, err error) {
	err = b.do(ctx, "read blocks", func() error {
		newest = b.blockRevision
		out, err = b.blocksWhere(limit, func(x persistence.Block) bool { return x.Revision > since },
			func(x, y persistence.Block) int { return cmp.Compare(x.Revision, y.Revision) })
		return err
	})
	return out, newest, err
}

func (b *Backend) blocksWhere(limit int, which func(persistence.Block) bool, order func(x, y persistence.Block) int) ([]persistence.Block, error) {
	if err := persistence.ValidateReadLane(limit); err != nil {
		return nil, err
	}
	var out []persistence.Block
	for _, block := range b.blocks {
		if b.inForce(block) && which(block) {
			out = append(out, block)
		}
	}
	slices.SortFunc(out, order)
	return out[:min(limit, len(out))], nil
}
