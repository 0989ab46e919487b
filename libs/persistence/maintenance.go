package persistence

import (
	"context"
	"fmt"
	"math"
)

// Partition is a part of the journal's events that is dropped as a whole. New events go to the newest one.
type Partition struct {
	// Part numbers it, for example by days since 1970.
	Part int32
	// Rows and Bytes are estimates of what it holds, and 0 when the backend does not know them.
	Rows, Bytes int64
	// Current: new events go here.
	Current bool
}

// Maintenance is what keeps a journal small and what an operator does to it. Implementations are safe for concurrent use,
// also by several processes, and while events are appended.
type Maintenance interface {
	// Rotate lets events that are appended from now on go to the partition part, which it creates. A part at or below the
	// current one is a no-op, and after an error it can be called again. ErrInvalid when part is math.MaxInt32: there would
	// be no next one. A new journal begins at partition 0.
	Rotate(ctx context.Context, part int32) error

	// Partitions returns those there are, ascending.
	Partitions(ctx context.Context) ([]Partition, error)

	// DropPartitions deletes the events of every partition up to upTo, oldest first, and returns which it dropped, also
	// beside an error. All of a partition goes at once for readers: what a stream had in it is trimmed, and the lanes'
	// TrimPos rise to the last position that an event of it was given. It stops at the first partition that somebody still
	// needs (*BlockedError, which tells of everybody): a stream whose newest snapshot is not beyond its events there, or a
	// checkpoint that has not passed them, trimmed ones included. Age does not count: what a partition holds is as young as the
	// rotation to the next one. ErrConflict when upTo is not below the current partition.
	DropPartitions(ctx context.Context, upTo int32) (dropped []int32, err error)

	// MarkRestored tells the journal that it was put back to an earlier state: restored to a point in time, or promoted from
	// a replica that lacked commits. In one transaction it clears the owner of every stream and draws a new incarnation for
	// it, frees every lease, and raises by RestoreGap: the epochs of streams, leases and checkpoints, every lane's position,
	// and the ids of the streams to come. So no writer of before can go on, not even one of a claim or a stream that was
	// lost, readers learn that a tail may be lost, and a cursor taken before is seen to be from another history, all as long
	// as fewer than RestoreGap of each were lost. Call it with no service running, before the first one starts. It returns
	// the number of streams.
	MarkRestored(ctx context.Context) (streams int64, err error)
}

// RestoreGap is what MarkRestored adds to epochs, positions and stream ids.
const RestoreGap = 1_000_000_000

// ValidatePart checks the argument of Maintenance.Rotate. ErrInvalid.
func ValidatePart(part int32) error {
	if part == math.MaxInt32 {
		return fmt.Errorf("partition %d, must be below: %w", part, ErrInvalid)
	}
	return nil
}
