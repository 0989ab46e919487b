package actorkit

import (
	"context"
	"log/slog"
	"sync"
	"time"

	goaktlog "github.com/tochemey/goakt/v4/log"
)

const (
	logInterval = time.Second
	// maxLogKeys bounds the memory of the limiter; GoAkt has a few hundred places that log.
	maxLogKeys = 1024
)

// goaktLogger passes on what GoAkt says from Warn up, as information: what it warns of or calls an error may be a peer
// that is not there yet, and nothing of ours depends on its registry or membership. What an operator must know, Links and
// the directory say themselves. Each place of GoAkt's code is heard at most once a second.
func goaktLogger(logger *slog.Logger) goaktlog.Logger {
	h := &goaktHandler{next: logger.Handler(), seen: map[string]*logKey{}, now: time.Now}
	return goaktlog.NewSlogFrom(slog.New(h), goaktlog.WarningLevel)
}

type logKey struct {
	last       time.Time
	suppressed int
}

type goaktHandler struct {
	next slog.Handler
	now  func() time.Time

	mu   sync.Mutex
	seen map[string]*logKey
}

func (h *goaktHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.next.Enabled(ctx, slog.LevelInfo)
}

func (h *goaktHandler) Handle(ctx context.Context, r slog.Record) error {
	caller := ""
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "caller" {
			caller = a.Value.String()
			return false
		}
		return true
	})
	key := caller
	if key == "" {
		key = r.Message
	}
	suppressed, ok := h.allow(key)
	if !ok {
		return nil
	}
	out := slog.NewRecord(r.Time, slog.LevelInfo, "goakt reports", r.PC)
	out.AddAttrs(slog.String("detail", r.Message), slog.String("caller", caller))
	if suppressed > 0 {
		out.AddAttrs(slog.Int("suppressed", suppressed))
	}
	return h.next.Handle(ctx, out)
}

// allow tells whether a key may be logged now and how many of it were not since the last time.
func (h *goaktHandler) allow(key string) (int, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	k := h.seen[key]
	if k == nil {
		if len(h.seen) >= maxLogKeys {
			clear(h.seen)
		}
		h.seen[key] = &logKey{last: now}
		return 0, true
	}
	if now.Sub(k.last) < logInterval {
		k.suppressed++
		return 0, false
	}
	suppressed := k.suppressed
	k.last, k.suppressed = now, 0
	return suppressed, true
}

// WithAttrs and WithGroup start with a limiter of their own: they are for loggers made once, not per message.
func (h *goaktHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &goaktHandler{next: h.next.WithAttrs(attrs), seen: map[string]*logKey{}, now: h.now}
}

func (h *goaktHandler) WithGroup(name string) slog.Handler {
	return &goaktHandler{next: h.next.WithGroup(name), seen: map[string]*logKey{}, now: h.now}
}
