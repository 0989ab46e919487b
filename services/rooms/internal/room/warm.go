package room

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/services/rooms/internal/room/core"
)

// Warm is what a node has read of a room that another one still writes: the states of its streams as of a moment ago. It
// claims nothing. An activation that gets it reads only what came since; one for which it is of no use reads everything.
// It is used up by the activation that gets it.
type Warm struct {
	stream  *actorkit.Preloaded[*core.State]
	members []*actorkit.Preloaded[*core.Members]
}

// shard returns what is known of a members shard; nil: nothing.
func (w *Warm) shard(n int) *actorkit.Preloaded[*core.Members] {
	if w == nil || n >= len(w.members) {
		return nil
	}
	return w.members[n]
}

// Preload reads a room ahead. It ends with ctx or after the start timeout. Errors are the journal's; a room whose writer
// trims or snapshots faster than it can be read gives ErrCorrupt.
func Preload(ctx context.Context, env Env, id string) (*Warm, error) {
	ctx, cancel := context.WithTimeout(ctx, env.Limits.StartTimeout)
	defer cancel()
	w := &Warm{}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(guarded(ctx, func(ctx context.Context) (err error) {
		w.stream, err = preloadStream(ctx, env, id)
		return err
	}))
	g.Go(guarded(ctx, func(ctx context.Context) (err error) {
		w.members, err = preloadMembers(ctx, env, id)
		return err
	}))
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("preload room %s: %w", id, err)
	}
	return w, nil
}

func preloadStream(ctx context.Context, env Env, id string) (*actorkit.Preloaded[*core.State], error) {
	key := streamKey(id)
	pre, err := actorkit.Preload(ctx, actorkit.PersistentConfig{Key: key, Journal: env.Journal, Logger: env.Logger},
		actorkit.Behavior[*core.State, *write, written](streamBehavior{limits: env.Limits}))
	if err != nil {
		return nil, err
	}
	state := pre.State()
	if err := backfill(ctx, env.Journal, key, state); err != nil {
		return nil, err
	}
	if age := state.RetentionAge(); age > 0 {
		upTo, err := searchAge(ctx, env.Journal, key, core.NewAgeSearch(state.Trimmed(), state.Head(), env.Now().Add(-age)))
		if err != nil {
			return nil, err
		}
		state.Raise(upTo)
	}
	return pre, nil
}

// preloadMembers reads all shards there are.
func preloadMembers(ctx context.Context, env Env, id string) ([]*actorkit.Preloaded[*core.Members], error) {
	var shards []*actorkit.Preloaded[*core.Members]
	for n := 0; ; n++ {
		if n > 0 {
			more, err := hasShard(ctx, env.Journal, id, n)
			if err != nil || !more {
				return shards, err
			}
		}
		pre, err := actorkit.Preload(ctx, actorkit.PersistentConfig{Key: shardKey(id, n), Journal: env.Journal, Logger: env.Logger},
			actorkit.Behavior[*core.Members, *change, core.Changed](membersBehavior{}))
		if err != nil {
			return nil, fmt.Errorf("members shard %d: %w", n, err)
		}
		shards = append(shards, pre)
	}
}

// hasShard tells whether a members shard after the first was ever opened.
func hasShard(ctx context.Context, journal persistence.Journal, id string, n int) (bool, error) {
	head, err := journal.Head(ctx, shardKey(id, n))
	if err != nil {
		return false, fmt.Errorf("look for members shard %d: %w", n, err)
	}
	return head.Epoch > 0, nil
}
