package book

import (
	"context"
	"log/slog"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/scheduler/internal/book/core"
)

// Asker asks the writer of a room: *ask.Asker, whose errors it has.
type Asker interface {
	Ask(ctx context.Context, frame *roomv1.Frame) (*roomv1.Frame, error)
}

// Config of a book. Zero values mean the defaults named; Owner, Journal, Rooms, Zones, Metrics and Term have none.
type Config struct {
	// Owner is what the journal is told.
	Owner   string
	Journal persistence.Journal
	// Guard is what the claims of streams are guarded by; nil: nothing.
	Guard persistence.Guard
	// Term ends when this node does not have the book any more: nothing is sent after that.
	Term    context.Context
	Rooms   Asker
	Zones   *core.Zones
	Metrics *Metrics
	// Logger; nil: none.
	Logger *slog.Logger
	// Sending is how many firings are sent at a time, Retrying how many of these were sent before. Defaults 1,024 and 128.
	Sending, Retrying int
	// Within is how long one attempt may take. Default 3 s.
	Within time.Duration
	// RetryFirst and RetryMost bound the pause before another attempt, which doubles. Defaults 200 ms and 30 s.
	RetryFirst, RetryMost time.Duration
	// Tick is how often it looks what is due. Default 50 ms.
	Tick time.Duration
	// Now is the clock by which schedules are due. Default time.Now.
	Now func() time.Time
}

// beginMost is how many firings of a stream are started in one batch.
const beginMost = 400

func (c Config) withDefaults() Config {
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
	number(&c.Sending, 1024)
	number(&c.Retrying, 128)
	duration(&c.Within, 3*time.Second)
	duration(&c.RetryFirst, 200*time.Millisecond)
	duration(&c.RetryMost, 30*time.Second)
	duration(&c.Tick, 50*time.Millisecond)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
