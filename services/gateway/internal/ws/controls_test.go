package ws

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/ratelimit"
)

// S9: a flood of pings or pongs ends with 4505, those before are answered, and nobody else notices.
func TestControlFramesAreLimited(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]byte{"pings": finPing, "pongs": finPong} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const burst = 50
			s := start(t, func(cfg *Config, _ *echo) {
				cfg.ControlRate, cfg.CloseTimeout = ratelimit.Rate{PerSecond: 0.01, Burst: burst}, 50*time.Millisecond
			})
			canary := s.connect()
			c := s.connect()
			c.write(bytes.Repeat(frame(kind, []byte("x")), burst))
			if kind == finPing {
				for range burst {
					c.expect(finPong, "x")
				}
			}
			c.echoes("as many as are allowed")
			c.write(bytes.Repeat(frame(kind, nil), 2))
			require.Equal(t, "too many pings or pongs", c.expectClose(4505))
			canary.echoes("after")
		})
	}
}

// Whoever sends ten a second is never closed, not even when everything is held up on the way for as long as a connection may be silent.
func TestControlFramesAtASaneRate(t *testing.T) {
	t.Parallel()
	limit := ratelimit.Limit{Pieces: Config{}.withDefaults().ControlRate}
	var used ratelimit.Meter
	now := time.Unix(1_000_000, 0)
	for n := range 100_000 {
		now = now.Add(100 * time.Millisecond)
		if n%3000 < 500 { // held up: these 500 arrive at once with the next
			continue
		}
		at := 1
		if n%3000 == 500 {
			at += 500
		}
		for range at {
			_, ok := used.Take(now, limit, ratelimit.One)
			require.True(t, ok, n)
		}
	}
	for range 1000 {
		used.Take(now, limit, ratelimit.One)
	}
	_, ok := used.Take(now, limit, ratelimit.One)
	require.False(t, ok)
}
