package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/persistence"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

const (
	// blocksEvery is how often the store is asked who was blocked since: one look at one row while nobody was.
	blocksEvery = time.Second
	// blockAgain is for how long a block is applied again. A connection that asked before the block was stored is known here
	// not later than after storeTimeout and a turn.
	blockAgain = 15 * time.Second
	// blocksAtOnce bounds what is read at a time, and what is kept to be applied again.
	blocksAtOnce = 1_000
	// blockedText is what a blocked member is told when nobody gave a reason.
	blockedText = "you are blocked"
)

// Blocked says that the member may not connect: it is told why and for how long, and the connection is closed.
func (c *Core) Blocked(now time.Time, b *persistence.Block) {
	if c.phase == phaseClosed {
		return
	}
	cause := c.hello
	if cause == nil {
		cause = &Command{Span: noopSpan}
	}
	message, wait := b.Reason, uint32(0)
	if message == "" {
		message = blockedText
	}
	if !b.Until.IsZero() {
		wait = millis(max(0, b.Until.Sub(now)))
	}
	c.out.Blocked(c.phase == phaseOpen)
	c.out.Reply(errorFrame(cause, cause.Env.GetId(), clientv1.ErrorCode_ERROR_CODE_BANNED, message, wait, "", ""))
	c.close(clientv1.CloseCode_CLOSE_CODE_BANNED)
}

// Blocked counts.
func (e *effects) Blocked(open bool) { e.d.metrics.blocked(open) }

// blocked tells whether a member is blocked: then, or when that cannot be told, there is nothing to open.
func (s *Sessions) blocked(ctx context.Context, member string) Opened {
	b, err := s.store.BlockOf(ctx, member)
	if err != nil {
		return Opened{Err: fmt.Errorf("look for block of member: %w", err)}
	}
	return Opened{Blocked: b}
}

// connected are those of the members that have a connection here.
func (r *Registry) connected(blocks map[string]persistence.Block) map[string][]*Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := map[string][]*Member{}
	for _, m := range r.bySession {
		if _, ok := blocks[m.place.member]; ok {
			found[m.place.member] = append(found[m.place.member], m)
		}
	}
	return found
}

// recentBlocks are those that are still applied, with the time until which they are.
type recentBlocks struct {
	blocks map[string]persistence.Block
	until  map[string]time.Time
}

func (r *recentBlocks) add(b persistence.Block, until time.Time) {
	r.blocks[b.Member], r.until[b.Member] = b, until
}

func (r *recentBlocks) forget(now time.Time) {
	for member, until := range r.until {
		if !now.Before(until) {
			r.remove(member)
		}
	}
}

func (r *recentBlocks) remove(member string) {
	delete(r.until, member)
	delete(r.blocks, member)
}

// KeepOut closes the connections of members that are blocked while they are connected, until ctx ends: not later than about
// blocksEvery after the block is stored, while the store answers, and after this process or the wire to the store was stopped not
// later than that after its return. Without the store connections stay.
func (s *Sessions) KeepOut(ctx context.Context, r *Registry, logger *slog.Logger) {
	limited := opskit.RateLimited(logger)
	tick := time.NewTicker(blocksEvery)
	defer tick.Stop()
	since := uint64(0)
	recent := recentBlocks{map[string]persistence.Block{}, map[string]time.Time{}}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		recent.forget(time.Now())
		var err error
		if since, err = s.readBlocks(ctx, since, &recent, r); err != nil && !errors.Is(err, context.Canceled) {
			limited.Warn("who was blocked could not be read; the next round tries again", "err", err)
		}
		if n := s.applyBlocks(ctx, r, &recent); n > 0 {
			logger.Info("connections of blocked members are closed", "count", n)
		}
	}
}

// applyBlocks has the connections of blocked members closed and says how many. Whether a block is still in force is asked once more:
// a member that was unblocked may have come back.
func (s *Sessions) applyBlocks(ctx context.Context, r *Registry, recent *recentBlocks) (told int) {
	if len(recent.blocks) == 0 {
		return 0
	}
	for member, connections := range r.connected(recent.blocks) {
		call, cancel := context.WithTimeout(ctx, storeTimeout)
		b, err := s.store.BlockOf(call, member)
		cancel()
		if err != nil { // the next round tries again
			recent.until[member] = time.Now().Add(blockAgain)
			continue
		}
		if b == nil {
			recent.remove(member)
			continue
		}
		for _, m := range connections {
			if m.tell(&blockedMsg{to{m}, *b}) {
				told++
			}
		}
	}
	return told
}

// readBlocks reads the blocks behind since and returns up to where it came. What there is no place for is applied once.
func (s *Sessions) readBlocks(ctx context.Context, since uint64, recent *recentBlocks, r *Registry) (uint64, error) {
	for {
		call, cancel := context.WithTimeout(ctx, storeTimeout)
		blocks, newest, err := s.store.BlocksSince(call, since, blocksAtOnce)
		cancel()
		switch {
		case err != nil:
			return since, err
		case newest < since: // an older copy was restored
			since = 0
			continue
		}
		until := time.Now().Add(blockAgain)
		for _, b := range blocks {
			since = b.Revision
			if len(recent.blocks) >= blocksAtOnce {
				s.applyBlocks(ctx, r, recent)
				clear(recent.blocks)
				clear(recent.until)
			}
			recent.add(b, until)
		}
		if len(blocks) < blocksAtOnce {
			return max(since, newest), nil // a block of a revision in between has ended
		}
	}
}
