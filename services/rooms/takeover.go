package rooms

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/services/rooms/internal/roomhost"
)

// pollTakeovers asks the journal which streams others have claimed, so that a room that was lost and has only readers
// here does not strand them (L2). While it cannot ask, the node may be the last to know, and says so.
func (s *Service) pollTakeovers(ctx context.Context) {
	logger := opskit.RateLimited(s.logger)
	ticker := time.NewTicker(s.cfg.TakeoverEvery)
	defer ticker.Stop()
	var mark persistence.Mark
	s.blind.saw(time.Now())
	for {
		list, next, err := s.takeovers(ctx, mark)
		now := time.Now()
		if err == nil {
			mark = next
			s.blind.saw(now)
			if len(list) > 0 {
				if err := actor.Tell(ctx, s.host, &roomhost.Takeovers{List: list}); err != nil && ctx.Err() == nil {
					logger.Error("room host does not take takeovers", slog.Any("err", err))
				}
			}
		} else if ctx.Err() == nil {
			s.blind.missed(now)
			logger.Warn("journal cannot be asked for takeovers", slog.Any("err", err))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Service) takeovers(ctx context.Context, mark persistence.Mark) ([]persistence.Takeover, persistence.Mark, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.BlindAfter)
	defer cancel()
	return s.deps.Backend.Takeovers(ctx, s.cfg.Node, mark)
}

// tick drives the host's clock.
func (s *Service) tick(ctx context.Context) {
	logger := opskit.RateLimited(s.logger)
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := actor.Tell(ctx, s.host, &roomhost.Tick{}); err != nil && ctx.Err() == nil {
				logger.Error("room host does not take ticks", slog.Any("err", err))
			}
		case <-ctx.Done():
			return
		}
	}
}

// blindness is whether this node can tell what it owns. Safe for concurrent use.
type blindness struct {
	after    time.Duration
	announce func(bool)

	mu    sync.Mutex
	last  time.Time
	blind bool
	// lost is set for good when another process has this node's name.
	lost error
}

func newBlindness(after time.Duration, announce func(bool)) *blindness {
	return &blindness{after: after, announce: announce}
}

func (b *blindness) saw(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = now
	b.set(b.lost != nil)
}

func (b *blindness) missed(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set(b.lost != nil || now.Sub(b.last) >= b.after)
}

func (b *blindness) lose(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost = err
	b.set(true)
}

// state returns whether the node is blind and, if that is for good, why.
func (b *blindness) state() (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.blind, b.lost
}

func (b *blindness) set(blind bool) {
	if b.blind != blind {
		b.blind = blind
		b.announce(blind)
	}
}
