package chaostest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// watcher asks for the takeovers of others, as a node does that wants to learn of rooms it has lost. It claims nothing
// itself, so every claim that was acknowledged before it asks must have been listed by the answer.
type watcher struct {
	l    *load
	slot int
	mark persistence.Mark
	// listed is the highest epoch that was listed of a stream.
	listed map[persistence.StreamKey]uint64
}

// newWatcher sets the mark: before the first claim, so that none can be older than it.
func newWatcher(ctx context.Context, l *load, slot int) (*watcher, error) {
	w := &watcher{l: l, slot: slot, listed: map[persistence.StreamKey]uint64{}}
	if err := w.ask(ctx); err != nil {
		return nil, fmt.Errorf("takeovers: %w", err)
	}
	return w, nil
}

func (w *watcher) run(ctx context.Context, random *rand.Rand) {
	for pause(ctx, between(random, 100*time.Millisecond)) {
		claimed := w.l.witness.epochs()
		err := w.ask(ctx)
		switch {
		case err == nil:
			for key, epoch := range claimed {
				if w.listed[key] < epoch {
					w.l.witness.fail(listed, key, "epoch %d, claimed before watcher %d asked, is not among the takeovers, the newest of which has epoch %d",
						epoch, w.slot, w.listed[key])
				}
			}
		case !transient(err) && ctx.Err() == nil:
			w.l.witness.fail(contract, "", "takeovers for watcher %d: %v", w.slot, err)
		}
	}
}

func (w *watcher) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	list, next, err := w.l.at(w.slot).Takeovers(ctx, "watcher", w.mark)
	if err != nil {
		return err
	}
	w.mark = next
	w.l.counts.takeovers.Add(int64(len(list)))
	for _, t := range list {
		w.listed[t.Key] = max(w.listed[t.Key], t.Epoch)
	}
	return nil
}
