package room

import "sync/atomic"

// Slot is what a room's activation and its host share. Everything in it is safe for concurrent use.
type Slot struct {
	// Queue counts the bytes of frames that were handed to the activation and are not finished.
	Queue *Meter

	// Written by the room, read by the host.
	epoch       atomic.Uint64
	lastMessage atomic.Uint64
	// acknowledged is the seq of the room's stream up to which an activation here acknowledged events, or an earlier one on
	// this node.
	acknowledged atomic.Uint64
	subscribers  atomic.Int64
	weight       atomic.Int64
	// wakeAt is when the room wants its next Tick, in Unix nanoseconds; 0: not at all.
	wakeAt atomic.Int64

	// lastUsed is when the last frame came, in Unix nanoseconds. Written by the host.
	lastUsed atomic.Int64
}

// NewSlot returns the slot of one activation with a bound for its queue in bytes and what Acknowledged said of the one
// before; 0: nothing is known of one.
func NewSlot(queueBytes int64, acknowledged uint64) *Slot {
	s := &Slot{Queue: NewMeter(queueBytes)}
	s.acknowledged.Store(acknowledged)
	return s
}

// Acknowledged returns the seq of the room's stream up to which this node has acknowledged events.
func (s *Slot) Acknowledged() uint64 { return s.acknowledged.Load() }

// RaiseAcknowledged notes what an activation on another node has acknowledged. Only before the activation starts.
func (s *Slot) RaiseAcknowledged(seq uint64) {
	s.acknowledged.Store(max(s.acknowledged.Load(), seq))
}

// Head returns the activation's epoch and the seq of its newest message; both 0 before it is ready.
func (s *Slot) Head() (epoch, lastMessage uint64) {
	// The epoch is set last and never changes: one that is not 0 comes with a head.
	epoch = s.epoch.Load()
	return epoch, s.lastMessage.Load()
}

// Idle tells whether nobody subscribes and nothing came since the given time.
func (s *Slot) Idle(since int64) bool {
	return s.subscribers.Load() == 0 && s.lastUsed.Load() < since && s.Queue.Used() == 0
}

// Weight returns about how many bytes the room's state takes in memory.
func (s *Slot) Weight() int64 { return s.weight.Load() }

// Touch notes that a frame came.
func (s *Slot) Touch(now int64) { s.lastUsed.Store(now) }

// Due tells whether the room wants a Tick.
func (s *Slot) Due(now int64) bool {
	at := s.wakeAt.Load()
	return at != 0 && at <= now
}
