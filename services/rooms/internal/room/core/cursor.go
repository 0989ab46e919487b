package core

import (
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// ReplayLimit is how many missed events a member gets replayed by default; with more it starts at the head.
const ReplayLimit = 10_000

// Facts is what the room knows when it places a cursor.
type Facts struct {
	Incarnation uint64
	Head        uint64
	Trimmed     uint64
	// ReplayLimit in seqs, an upper bound of the messages; 0 means the default.
	ReplayLimit uint32
	// MessageID of the message at the cursor's seq; empty when there is no message. Only looked at when NeedsMessage
	// said so.
	MessageID string
}

// Position is where a member's stream goes on.
type Position struct {
	// Cursor: replay and live delivery start after it.
	Cursor uint64
	// Recovered: a cursor was given and the stream continues it.
	Recovered bool
	// Reset is not 0 when the stream does not continue the cursor given.
	Reset clientv1.ResetReason
}

// NeedsMessage tells whether Resolve must be told the message id at the cursor's seq: the client says which message it
// received there, and that message may still be stored.
func NeedsMessage(c *roomv1.Cursor, f Facts) bool {
	return c != nil && c.AfterMessageId != "" && !foreign(c, f) && c.AfterSeq > f.Trimmed
}

// foreign tells whether the cursor certainly belongs to a history that was lost.
func foreign(c *roomv1.Cursor, f Facts) bool {
	return c.Incarnation != 0 && c.Incarnation != f.Incarnation || c.AfterSeq > f.Head
}

// Resolve places a cursor. Without one the member starts at the head.
func Resolve(c *roomv1.Cursor, f Facts) Position {
	if c == nil {
		return Position{Cursor: f.Head}
	}
	if foreign(c, f) || NeedsMessage(c, f) && c.AfterMessageId != f.MessageID {
		return Position{Cursor: f.Head, Reset: clientv1.ResetReason_RESET_REASON_REWOUND}
	}
	limit := uint64(f.ReplayLimit)
	if limit == 0 {
		limit = ReplayLimit
	}
	if f.Head-max(c.AfterSeq, f.Trimmed) > limit {
		return Position{Cursor: f.Head, Reset: clientv1.ResetReason_RESET_REASON_REPLAY_LIMIT}
	}
	if c.AfterSeq < f.Trimmed {
		return Position{Cursor: f.Trimmed, Reset: clientv1.ResetReason_RESET_REASON_TRIMMED}
	}
	return Position{Cursor: c.AfterSeq, Recovered: true}
}
