package room

import (
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/ratelimit"
	"github.com/parley-rt/parley/services/rooms/internal/room/core"
)

// Links is how a room reaches gateway nodes. *actorkit.Node is one.
type Links interface {
	// Send queues a frame in order and never blocks: actorkit.ErrUnknownPeer, ErrLinkDown, ErrLinkFull.
	Send(node string, f actorkit.Frame) error
	Link(node string) (actorkit.LinkStatus, bool)
}

// Limits of one room. Zero values mean the defaults named.
type Limits struct {
	// MaxContentBytes of one message. Default 64 KiB.
	MaxContentBytes int
	// Messages bounds the messages of members, and the bytes of their contents, in rooms whose settings do not; nil: nothing does,
	// whatever the settings say.
	Messages *ratelimit.Own
	// WindowMax is how many ids the dedupe window holds. Default core.WindowMax.
	WindowMax int
	// Reads and ReadQueue: journal reads of one room at a time, and how many may wait. Defaults 4 and 256.
	Reads, ReadQueue int
	// ReadTimeout bounds a read of the journal, waiting for its turn included. Default 4 s.
	ReadTimeout time.Duration
	// StartTimeout bounds claim and recovery. Default 15 s.
	StartTimeout time.Duration
	// HeadTimeout bounds one look at the head before a claim, which is repeated within StartTimeout. Default 2 s.
	HeadTimeout time.Duration
	// CommitTimeout bounds one append. Default 4 s.
	CommitTimeout time.Duration
	// ShardQueue is how many joins may wait while a further members stream is opened. Default 1,024.
	ShardQueue int
}

func (l Limits) withDefaults() Limits {
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
	number(&l.MaxContentBytes, 64<<10)
	number(&l.WindowMax, core.WindowMax)
	number(&l.Reads, 4)
	number(&l.ReadQueue, 256)
	number(&l.ShardQueue, 1024)
	duration(&l.ReadTimeout, 4*time.Second)
	duration(&l.StartTimeout, 15*time.Second)
	duration(&l.HeadTimeout, 2*time.Second)
	duration(&l.CommitTimeout, 4*time.Second)
	return l
}

func (l Limits) gauge() *core.Gauge {
	if l.Messages == nil {
		return nil
	}
	return core.NewGauge(l.Messages)
}

// Env is what all rooms of a node share.
type Env struct {
	// Node is this node's name: the owner written into the journal.
	Node    string
	Journal persistence.Journal
	Links   Links
	Logger  *slog.Logger
	Metrics *Metrics
	Tracer  trace.Tracer
	Limits  Limits
	// Reads bounds the journal reads of the node: a buffered channel used as semaphore.
	Reads chan struct{}
	Now   func() time.Time
}

// WithDefaults fills in the limits.
func (e Env) WithDefaults() Env {
	e.Limits = e.Limits.withDefaults()
	return e
}
