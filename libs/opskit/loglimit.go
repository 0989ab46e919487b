package opskit

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/parley-rt/parley/libs/opskit/logkey"
)

const (
	// logInterval is how often one message may be logged at one level.
	logInterval = time.Second
	// maxLimitedMessages bounds the memory of a limited logger. Messages are
	// constants in our own code, but not in every library's.
	maxLimitedMessages = 1024
)

// RateLimited returns a logger that logs the same message at the same level at
// most once a second, whatever its attributes. The next line that gets through
// carries the number of lines left out since as "suppressed". Loggers derived
// with With share the count. When more than 1,024 different messages are logged
// within a second, those above it share one line a second per level.
func RateLimited(logger *slog.Logger) *slog.Logger {
	return slog.New(&limitHandler{
		next:  logger.Handler(),
		state: &limitState{seen: map[limitKey]*limitEntry{}},
	})
}

type limitKey struct {
	level   slog.Level
	message string
}

type limitEntry struct {
	since      time.Time
	suppressed int64
}

type limitState struct {
	mu   sync.Mutex
	seen map[limitKey]*limitEntry
}

// admit reports whether the line may be logged, and how many of its kind were
// left out before it.
func (s *limitState) admit(key limitKey, now time.Time) (suppressed int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entry(key, now)
	if !e.since.IsZero() && now.Sub(e.since) < logInterval {
		e.suppressed++
		return 0, false
	}
	suppressed, e.suppressed, e.since = e.suppressed, 0, now
	return suppressed, true
}

func (s *limitState) entry(key limitKey, now time.Time) *limitEntry {
	if e, ok := s.seen[key]; ok {
		return e
	}
	if len(s.seen) >= maxLimitedMessages {
		s.forgetQuiet(now)
	}
	if len(s.seen) >= maxLimitedMessages {
		key = limitKey{level: key.level} // the shared line of the overflow
		if e, ok := s.seen[key]; ok {
			return e
		}
	}
	e := &limitEntry{}
	s.seen[key] = e
	return e
}

// forgetQuiet drops the messages whose second is over; their counts of
// suppressed lines go with them.
func (s *limitState) forgetQuiet(now time.Time) {
	for key, e := range s.seen {
		if now.Sub(e.since) >= logInterval {
			delete(s.seen, key)
		}
	}
}

type limitHandler struct {
	next  slog.Handler
	state *limitState
}

func (h *limitHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

func (h *limitHandler) Handle(ctx context.Context, rec slog.Record) error {
	suppressed, ok := h.state.admit(limitKey{level: rec.Level, message: rec.Message}, time.Now())
	if !ok {
		return nil
	}
	if suppressed > 0 {
		rec = rec.Clone()
		rec.AddAttrs(slog.Int64(logkey.Suppressed, suppressed))
	}
	return h.next.Handle(ctx, rec)
}

func (h *limitHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &limitHandler{next: h.next.WithAttrs(attrs), state: h.state}
}

func (h *limitHandler) WithGroup(name string) slog.Handler {
	return &limitHandler{next: h.next.WithGroup(name), state: h.state}
}
