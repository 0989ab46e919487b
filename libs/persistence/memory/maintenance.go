package memory

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/parley-rt/parley/libs/persistence"
)

// partition is what is known of a part beside its events.
type partition struct {
	part        int32
	rows, bytes int64
	// newest is the last position that an event of it was given, by lane; 0: none.
	newest []uint64
}

func (b *Backend) newPartition(part int32) *partition {
	return &partition{part: part, newest: make([]uint64, len(b.lanes))}
}

// Rotate implements persistence.Maintenance.
func (b *Backend) Rotate(ctx context.Context, part int32) error {
	return b.do(ctx, fmt.Sprintf("rotate to partition %d", part), func() error {
		if err := persistence.ValidatePart(part); err != nil {
			return err
		}
		if part > b.partitions[len(b.partitions)-1].part {
			b.partitions = append(b.partitions, b.newPartition(part))
		}
		return nil
	})
}

// Partitions implements persistence.Maintenance.
func (b *Backend) Partitions(ctx context.Context) (list []persistence.Partition, err error) {
	err = b.do(ctx, "list partitions", func() error {
		for i, p := range b.partitions {
			list = append(list, persistence.Partition{Part: p.part, Rows: p.rows, Bytes: p.bytes, Current: i == len(b.partitions)-1})
		}
		return nil
	})
	return list, err
}

// DropPartitions implements persistence.Maintenance.
func (b *Backend) DropPartitions(ctx context.Context, upTo int32) (dropped []int32, err error) {
	err = b.do(ctx, fmt.Sprintf("drop partitions up to %d", upTo), func() error {
		if current := b.partitions[len(b.partitions)-1].part; upTo >= current {
			return fmt.Errorf("events go to partition %d: %w", current, persistence.ErrConflict)
		}
		for b.partitions[0].part <= upTo {
			p := b.partitions[0]
			if err := b.blockers(p); err != nil {
				return err
			}
			b.drop(p)
			dropped = append(dropped, p.part)
		}
		return nil
	})
	return dropped, err
}

// blockers returns a *BlockedError if somebody needs the oldest partition.
func (b *Backend) blockers(p *partition) error {
	streams := map[persistence.StreamKey]struct{}{}
	for _, l := range b.lanes {
		for _, e := range l.entries {
			if e.part != p.part {
				break
			}
			if e.event.Seq > e.stream.head.SnapSeq {
				streams[e.stream.head.Key] = struct{}{}
			}
		}
	}
	names := map[string]struct{}{}
	for at, c := range b.checkpoints {
		if c.Pos < p.newest[at.lane] {
			names[at.name] = struct{}{}
		}
	}
	if len(streams)+len(names) == 0 {
		return nil
	}
	keys := slices.Sorted(maps.Keys(streams))
	return &persistence.BlockedError{
		Part: p.part, Streams: int64(len(keys)), Keys: keys[:min(len(keys), persistence.MaxBlockedKeys)],
		Checkpoints: slices.Sorted(maps.Keys(names)),
	}
}

// drop forgets the oldest partition.
func (b *Backend) drop(p *partition) {
	newest := map[*stream]uint64{}
	for i, l := range b.lanes {
		n := 0
		for _, e := range l.entries {
			if e.part != p.part {
				break
			}
			newest[e.stream] = e.event.Seq
			n++
		}
		l.entries = slices.Clone(l.entries[n:])
		l.trimPos = max(l.trimPos, p.newest[i])
	}
	for s, seq := range newest {
		s.trim(seq)
	}
	b.partitions = b.partitions[1:]
}

// MarkRestored implements persistence.Maintenance.
func (b *Backend) MarkRestored(ctx context.Context) (streams int64, err error) {
	err = b.do(ctx, "mark the journal as restored", func() error {
		b.streamIDs += persistence.RestoreGap
		b.claims += persistence.RestoreGap
		b.checkpointEpochs += persistence.RestoreGap
		for _, s := range b.streams {
			s.claimNo += persistence.RestoreGap
			s.head.Epoch += persistence.RestoreGap
			s.head.Incarnation = newIncarnation()
			s.head.Owner = ""
		}
		for name, l := range b.leases {
			b.leases[name] = persistence.Lease{Name: name, Epoch: l.Epoch + persistence.RestoreGap}
		}
		for at, c := range b.checkpoints {
			c.Epoch += persistence.RestoreGap
			b.checkpoints[at] = c
		}
		for _, l := range b.lanes {
			l.pos += persistence.RestoreGap
		}
		streams = int64(len(b.streams))
		return nil
	})
	return streams, err
}
