package ws

import (
	"errors"
	"fmt"
	"time"

	"github.com/parley-rt/parley/libs/ratelimit"
)

// Config bounds what connections may cost. Zero values mean the default named at each field.
type Config struct {
	// MaxMessageBytes bounds a reassembled message; a longer one is closed with 1009. Default 64 KiB.
	MaxMessageBytes int
	// MaxFragments bounds the frames of one message; more are closed with 1008. Default 256.
	MaxFragments int
	// ControlRate bounds pings and pongs of the peer, which are answered in here and no message that anybody else counts; more are
	// closed with 4505. Default DefaultControlRate.
	ControlRate ratelimit.Rate
	// OutboxBytes bounds what waits for one connection beyond what is being written. Messages are offered up to half of
	// it and wait elsewhere then; answers and signals that find more of their kind waiting while the peer takes nothing
	// close the connection with 4001. Default 256 KiB.
	OutboxBytes int
	// Backlog bounds what waits for all connections. Default one of DefaultBacklogBytes of its own.
	Backlog *Backlog
	// WriteTimeout bounds how long a write of up to 64 KiB may take; then the connection is closed with 4001. Default 10 s.
	WriteTimeout time.Duration
	// StallTimeout is how long a write may last while more than OutboxBytes of answers and signals wait. Default 1 s.
	StallTimeout time.Duration
	// CloseTimeout bounds the wait for the peer's close frame, and how long a slow peer may take to read ours. Default 2 s.
	CloseTimeout time.Duration
	// MaxConnections bounds open connections; more get HTTP 429. Default 100,000.
	MaxConnections int
	// AllowedOrigins lists the origins ("https://chat.example.com", or "*" for all) that browsers may come from. Empty:
	// only the origin of the gateway itself. Requests without an Origin do not come from a page and always pass.
	AllowedOrigins []string
	// OnlyHere: the listener is reached from this machine only, without TLS. Without AllowedOrigins pages are then let in under
	// names that lead here for certain: localhost, and addresses.
	OnlyHere bool
	// RetryAfter is the least that refused clients are told to wait, in whole seconds, and up to three times as much. Default
	// 1 s.
	RetryAfter time.Duration
}

// DefaultControlRate is twice what a restless client sends, and at once as much as such a rate makes in the 50 s after which a silent
// connection is cut: what was held up on its way and arrives together harms nobody.
func DefaultControlRate() ratelimit.Rate { return ratelimit.Rate{PerSecond: 20, Burst: 1000} }

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
	def(&c.MaxMessageBytes, 64<<10)
	def(&c.MaxFragments, 256)
	if c.ControlRate.Off() {
		c.ControlRate = DefaultControlRate()
	}
	def(&c.OutboxBytes, 256<<10)
	def(&c.MaxConnections, 100_000)
	dur(&c.WriteTimeout, 10*time.Second)
	dur(&c.StallTimeout, time.Second)
	dur(&c.CloseTimeout, 2*time.Second)
	dur(&c.RetryAfter, time.Second)
	if c.Backlog == nil {
		c.Backlog = NewBacklog(0)
	}
	return c
}

// Validate reports every problem at once.
func (c Config) Validate() error {
	var problems []error
	positive := func(name string, v int64) {
		if v < 0 {
			problems = append(problems, fmt.Errorf("%s is negative", name))
		}
	}
	positive("max message bytes", int64(c.MaxMessageBytes))
	positive("max fragments", int64(c.MaxFragments))
	if err := c.ControlRate.Check(); err != nil {
		problems = append(problems, fmt.Errorf("rate of control frames: %w", err))
	}
	positive("outbox bytes", int64(c.OutboxBytes))
	positive("max connections", int64(c.MaxConnections))
	positive("write timeout", int64(c.WriteTimeout))
	positive("stall timeout", int64(c.StallTimeout))
	positive("close timeout", int64(c.CloseTimeout))
	positive("retry after", int64(c.RetryAfter))
	for _, o := range c.AllowedOrigins {
		if _, err := parseOrigin(o); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}
