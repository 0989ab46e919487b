package member

import "time"

// Config is what a Core knows from the start. Zero values mean the default named at each field.
type Config struct {
	Node, DC string
	// Authenticate: clients must prove who they are. Without it they are guests.
	Authenticate bool
	// MaxRooms a connection may be in. Default 100.
	MaxRooms int
	// ReplayLimit is the most messages replayed to one that comes back; 0 leaves it to the room.
	ReplayLimit uint32
	// AnswerWithin is how long after its receipt a command is answered at the latest, one tick of the clock and the turns of
	// the actor not counted. Clients are promised 5 s (L1), and on a busy machine the way there and back, the tick and the
	// turns take a quarter of a second. Default 4.5 s.
	AnswerWithin time.Duration
	// OpenWithin is how long the session store may take to open the session; then the connection is closed with 4004, which
	// is the only answer that those who wait for the session can get. Default 4 s.
	OpenWithin time.Duration
	// HoldWithin is how long joining the rooms of a session may keep others from opening theirs: one slow room must not hold
	// up everybody. Default 250 ms.
	HoldWithin time.Duration
	// SilenceAfter is how long a request may stay unanswered before another node is asked. Default 2 s.
	SilenceAfter time.Duration
	// RetryFirst is the first pause after a refusal; it doubles up to 8 times that. Default 100 ms.
	RetryFirst time.Duration
	// BatchMessages and BatchBytes bound one batch of publishes. Defaults 64 and 64 KiB.
	BatchMessages, BatchBytes int
	// Limits are how much clients may ask for; nil: as much as they like.
	Limits *Limits
	// DrainGrace is how long a connection that should have left may take to have its commands answered; all are by then unless
	// it is less than AnswerWithin and a tick. Default 5 s.
	DrainGrace time.Duration
}

func (c Config) withDefaults() Config {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	dur := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.MaxRooms, 100)
	def(&c.BatchMessages, 64)
	def(&c.BatchBytes, 64<<10)
	dur(&c.AnswerWithin, 4500*time.Millisecond)
	dur(&c.OpenWithin, 4*time.Second)
	dur(&c.HoldWithin, 250*time.Millisecond)
	dur(&c.SilenceAfter, 2*time.Second)
	dur(&c.RetryFirst, 100*time.Millisecond)
	dur(&c.DrainGrace, 5*time.Second)
	return c
}
