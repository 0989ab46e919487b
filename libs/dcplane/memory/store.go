package memory

import (
	"context"
	"errors"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/internal/engine"
)

// errDown is what a stopped plane answers.
var errDown = errors.New("memory control plane is stopped")

// store is one directory's access to the plane.
type store struct{ plane *Plane }

// enter locks the plane for one call; on nil the caller unlocks.
func (s *store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.plane.mu.Lock()
	if s.plane.down {
		s.plane.mu.Unlock()
		return errDown
	}
	return nil
}

func (s *store) Get(ctx context.Context, key dcplane.Key) (engine.Stored, error) {
	if err := s.enter(ctx); err != nil {
		return engine.Stored{}, err
	}
	defer s.plane.mu.Unlock()
	found, ok := s.plane.records[key]
	if !ok {
		return engine.Stored{}, engine.ErrNotFound
	}
	return found, nil
}

func (s *store) Create(ctx context.Context, r engine.Record) (uint64, error) {
	return s.put(ctx, r, 0)
}

func (s *store) Update(ctx context.Context, r engine.Record, revision uint64) (uint64, error) {
	return s.put(ctx, r, revision)
}

// put writes when the key has this revision; 0 is the revision of a key without a record.
func (s *store) put(ctx context.Context, r engine.Record, revision uint64) (uint64, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	p := s.plane
	defer p.mu.Unlock()
	key := r.Node.Key()
	if p.records[key].Revision != revision {
		return 0, engine.ErrConflict
	}
	p.revision++
	delete(p.deleted, key)
	p.records[key] = engine.Stored{Record: r, Revision: p.revision}
	p.tell(dcplane.Observation{Key: key, Version: p.version(), Node: r.Node})
	return p.revision, nil
}

func (s *store) Delete(ctx context.Context, key dcplane.Key, revision uint64) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	p := s.plane
	defer p.mu.Unlock()
	if p.records[key].Revision != revision {
		return engine.ErrConflict
	}
	p.revision++
	delete(p.records, key)
	p.deleted[key] = p.revision
	p.tell(dcplane.Observation{Key: key, Version: p.version(), Deleted: true})
	return nil
}

func (s *store) Sync(ctx context.Context) (dcplane.Listing, engine.Watch, error) {
	if err := s.enter(ctx); err != nil {
		return dcplane.Listing{}, nil, err
	}
	p := s.plane
	defer p.mu.Unlock()
	listing := make([]dcplane.Observation, 0, len(p.records))
	for key, r := range p.records {
		listing = append(listing, dcplane.Observation{
			Key: key, Version: dcplane.Version{Generation: p.generation, Revision: r.Revision}, Node: r.Record.Node,
		})
	}
	for key, revision := range p.deleted {
		listing = append(listing, dcplane.Observation{
			Key: key, Version: dcplane.Version{Generation: p.generation, Revision: revision}, Deleted: true,
		})
	}
	w := &watch{plane: p}
	p.watches[w] = struct{}{}
	return dcplane.Listing{Generation: p.generation, Observations: listing}, w, nil
}

func (s *store) Close() {}

// version and tell are called with mu held.
func (p *Plane) version() dcplane.Version {
	return dcplane.Version{Generation: p.generation, Revision: p.revision}
}

// tell hands an observation to every open watch. Watchers only update their cache, so holding mu is harmless and keeps
// the order.
func (p *Plane) tell(o dcplane.Observation) {
	for w := range p.watches {
		if w.follower == nil {
			w.early = append(w.early, o)
			continue
		}
		w.follower.Observe(o)
	}
}

// watch is guarded by its plane's mu. It never ends by itself.
type watch struct {
	plane    *Plane
	follower engine.Follower
	early    []dcplane.Observation // seen before Follow, which comes right after Sync
}

func (w *watch) Follow(f engine.Follower) {
	w.plane.mu.Lock()
	defer w.plane.mu.Unlock()
	for _, o := range w.early {
		f.Observe(o)
	}
	w.early, w.follower = nil, f
}

func (w *watch) Done() <-chan struct{} { return nil }

func (w *watch) Stop() {
	w.plane.mu.Lock()
	defer w.plane.mu.Unlock()
	delete(w.plane.watches, w)
}
