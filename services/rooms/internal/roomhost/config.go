package roomhost

import (
	"time"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/services/rooms/internal/room"
)

// Config of a host. Zero durations and numbers mean the defaults named.
type Config struct {
	Env room.Env
	// Node counts the bytes of all frames waiting on this node.
	Node *room.Meter
	// Directory tells of the rooms nodes.
	Directory Directory

	// QueueBytes bounds what waits for one room. Default 8 MiB.
	QueueBytes int64
	// StartQueue is how many frames wait for a room that starts or stops. Default 1,024.
	StartQueue int
	// QueueTimeout is how long a frame waits for a room to start before it is refused. Default 4 s.
	QueueTimeout time.Duration
	// IdleAfter is how long a room without subscribers and frames is kept. Default 2 min.
	IdleAfter time.Duration
	// FencedMin and FencedMax bound the random time for which a room that was lost is not claimed. Defaults 1 s and 5 s.
	FencedMin, FencedMax time.Duration
	// RetryMin and RetryMax bound the time between two tries to start a room. Defaults 100 ms and 5 s.
	RetryMin, RetryMax time.Duration
	// JournalRetryMax bounds it instead while it is the journal that is away: then every room waits, and how long the journal
	// was away must not add to how long the room is (L2, L3). Default 1 s.
	JournalRetryMax time.Duration
	// StopTimeout bounds the end of one room: final snapshots and release. Default 5 s.
	StopTimeout time.Duration
	// Heads is of how many rooms that stopped here the acknowledged head is remembered, so that a journal which lost some of
	// it is noticed when they come back (S7). The one that stopped longest ago is forgotten first. Default 100,000.
	Heads int
	// Starts and Stops are how many rooms start and stop at a time. Defaults 64 and 64.
	Starts, Stops int

	// Preloads is how many rooms are read ahead at a time: by this node, and by others for this one. Default 32.
	Preloads int
	// Pauses is how many rooms pause at most at a time because they are being handed over. Default 32.
	Pauses int
	// PreloadTimeout bounds the wait for another node to read a room ahead, HandOverTimeout the wait for it to take one.
	// Defaults 15 s and 2 s.
	PreloadTimeout, HandOverTimeout time.Duration
	// WarmRooms and WarmBytes bound what was read ahead and waits to be handed over; it is forgotten after WarmFor. What has
	// no place is read when it comes. Defaults 512, 64 MiB and 15 s.
	WarmRooms int
	WarmBytes int64
	WarmFor   time.Duration
	// MovesPerSecond is how many rooms are given to nodes that joined; negative: none are. Default 200.
	MovesPerSecond int
	// SettleAfter is how long the rooms nodes must have been the same before. Default 10 s.
	SettleAfter time.Duration
	// RestFor is how long a room stays after it came here or could not be moved. Default 2 min.
	RestFor time.Duration
	// KnownAfter is how long after it claimed a room an owner that lives must be in a directory that is complete: nodes
	// register before they claim. Default 2 s; negative: one without a record is always taken for gone.
	KnownAfter time.Duration
}

// Directory is what a host knows of the DC's rooms nodes. Its methods are safe for concurrent use and do not block.
type Directory interface {
	// Nodes returns all of them, this one included, in a slice of the caller's. fresh: the view is complete and not old.
	Nodes() (nodes []dcplane.Node, fresh bool)
	// Lookup tells whether there is a record of a node, and when the view was last known to be complete.
	Lookup(node string) (found bool, asOf time.Time)
}

// WithDefaults fills in what is zero.
func (c Config) WithDefaults() Config {
	c.Env = c.Env.WithDefaults()
	number := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	duration := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	if c.QueueBytes <= 0 {
		c.QueueBytes = 8 << 20
	}
	number(&c.StartQueue, 1024)
	number(&c.Heads, 100_000)
	number(&c.Starts, 64)
	number(&c.Stops, 64)
	duration(&c.QueueTimeout, 4*time.Second)
	duration(&c.IdleAfter, 2*time.Minute)
	duration(&c.FencedMin, time.Second)
	duration(&c.FencedMax, 5*time.Second)
	duration(&c.RetryMin, 100*time.Millisecond)
	duration(&c.RetryMax, 5*time.Second)
	duration(&c.JournalRetryMax, time.Second)
	duration(&c.StopTimeout, 5*time.Second)
	number(&c.Preloads, 32)
	number(&c.Pauses, 32)
	duration(&c.PreloadTimeout, 15*time.Second)
	duration(&c.HandOverTimeout, 2*time.Second)
	number(&c.WarmRooms, 512)
	if c.WarmBytes <= 0 {
		c.WarmBytes = 64 << 20
	}
	duration(&c.WarmFor, 15*time.Second)
	if c.MovesPerSecond == 0 {
		c.MovesPerSecond = 200
	}
	duration(&c.SettleAfter, 10*time.Second)
	duration(&c.RestFor, 2*time.Minute)
	if c.KnownAfter == 0 {
		c.KnownAfter = 2 * time.Second
	}
	return c
}
