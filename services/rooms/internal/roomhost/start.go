package roomhost

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/names"
	"github.com/parley-rt/parley/services/rooms/internal/room"
)

const (
	codeBusy        = clientv1.ErrorCode_ERROR_CODE_BUSY
	codeUnavailable = clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE

	busyRetryAfter = 250 // ms
	// guardRetries is how often a start looks at the head again because somebody claimed meanwhile.
	guardRetries = 3
)

// start looks at the room's head and starts it if it may run here. It runs in a task. A room that was handed over needs no
// look: its owner has allowed it, and the claim is guarded by what the owner holds.
func start(self *actor.PID, cfg Config, w wish) *startResult {
	ctx, cancel := context.WithTimeout(context.Background(), cfg.Env.Limits.StartTimeout)
	defer cancel()
	result := func(r startResult) *startResult { r.wish = w; return &r }
	// Every try has its own name: GoAkt may still know the one before.
	name := func(try int) string { return w.name + "." + strconv.Itoa(try) }
	var err error
	if g := w.gift; g != nil {
		var pid *actor.PID
		begin := room.Start{Epoch: g.epoch, MembersEpochs: g.membersEpochs, Warm: w.warm}
		w.warm = nil
		if pid, err = spawn(ctx, self, cfg, w.slot, name(0), begin); err == nil {
			return result(startResult{pid: pid})
		}
		if !errors.Is(err, persistence.ErrGuard) {
			return result(startResult{err: err})
		}
	}
	key := persistence.StreamKey(names.RoomStream(w.slot.roomID))
	for try := range guardRetries {
		var head persistence.Head
		if head, err = look(ctx, cfg.Env.Journal, key, cfg.Env.Limits.HeadTimeout); err != nil {
			return result(startResult{err: fmt.Errorf("look at head of room: %w", err)})
		}
		if !mayClaim(cfg.Env.Node, head, ownerOf(cfg, head)) {
			return result(startResult{moved: true, owner: head.Owner})
		}
		// However gone its owner looks from here: one that took the room from this node and goes on writing lives (L6).
		if w.rival != "" && head.Owner == w.rival && head.LastSeq > w.rivalSeq {
			return result(startResult{moved: true, owner: head.Owner, writes: head.LastSeq})
		}
		var pid *actor.PID
		begin := room.Start{Epoch: head.Epoch, Warm: w.warm}
		w.warm = nil
		if pid, err = spawn(ctx, self, cfg, w.slot, name(try+1), begin); err == nil {
			return result(startResult{pid: pid})
		}
		if !errors.Is(err, persistence.ErrGuard) {
			break
		}
	}
	var fenced *persistence.FencedError
	if errors.As(err, &fenced) && fenced.Owner != cfg.Env.Node {
		return result(startResult{moved: true, owner: fenced.Owner})
	}
	return result(startResult{err: err})
}

// look reads the head. An answer that does not come is asked for again while ctx lasts: what was lost is most likely one packet,
// or one connection.
func look(ctx context.Context, journal persistence.Journal, key persistence.StreamKey, each time.Duration) (persistence.Head, error) {
	for {
		attempt, cancel := context.WithTimeout(ctx, each)
		head, err := journal.Head(attempt, key)
		silent := errors.Is(attempt.Err(), context.DeadlineExceeded)
		cancel()
		if err == nil || !silent || ctx.Err() != nil {
			return head, err
		}
	}
}

func ownerOf(cfg Config, head persistence.Head) Owner {
	var o Owner
	live, asOf := cfg.Directory.Lookup(head.Owner)
	o.Live, o.Unseen = live, unseen(head.ClaimedAt, asOf, cfg.Env.Now(), cfg.KnownAfter)
	o.Link, o.Known = cfg.Env.Links.Link(head.Owner)
	return o
}

// spawn starts the actor, which claims and recovers the room.
func spawn(ctx context.Context, self *actor.PID, cfg Config, s *slot, name string, begin room.Start) (*actor.PID, error) {
	r := room.New(cfg.Env, s.roomID, s.shared, begin, self)
	pid, err := self.SpawnChild(ctx, name, r, actorkit.SpawnOptions()...)
	if err != nil {
		return nil, fmt.Errorf("spawn room %s: %w", s.roomID, err)
	}
	if err := r.StartErr(); err != nil {
		stopCtx, cancel := context.WithTimeout(context.Background(), cfg.StopTimeout)
		defer cancel()
		return nil, errors.Join(err, pid.Shutdown(stopCtx))
	}
	return pid, nil
}

// journalAway tells whether a start failed for no reason of the room's own: another one would have failed, too.
func journalAway(err error) bool {
	return errors.Is(err, persistence.ErrUnavailable) || errors.Is(err, persistence.ErrOverloaded) || errors.Is(err, persistence.ErrUnknown)
}

// startRefusal is what askers are told about a room that cannot be started. Nothing of theirs was stored.
func startRefusal(err error) (clientv1.ErrorCode, string) {
	if errors.Is(err, persistence.ErrOverloaded) {
		return codeBusy, "too many rooms are starting"
	}
	return codeUnavailable, "the room cannot be started at the moment"
}
