package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/internal/document"
	"github.com/parley-rt/parley/libs/dcplane/internal/engine"
)

// store implements engine.Store over one bucket.
type store struct {
	cfg    Config
	line   *line
	js     jetstream.JetStream
	logger *slog.Logger

	pumps sync.WaitGroup // of the watches

	mu         sync.Mutex
	kv         jetstream.KeyValue // nil when the bucket is not known to exist
	created    time.Time          // of the bucket's stream when it was last listed
	generation uint64             // how many different ones were seen
	warned     map[string]uint64  // undecodable records by key, with the revision the log knows
}

func newStore(cfg Config, l *line, js jetstream.JetStream) *store {
	return &store{cfg: cfg, line: l, js: js, logger: cfg.Logger, warned: make(map[string]uint64)}
}

// Close implements engine.Store.
func (s *store) Close() {
	s.line.close()
	s.pumps.Wait()
}

// Get implements engine.Store.
func (s *store) Get(ctx context.Context, key dcplane.Key) (engine.Stored, error) {
	var found engine.Stored
	err := s.do(ctx, func(kv jetstream.KeyValue) error {
		entry, err := kv.Get(ctx, document.EncodeKey(key))
		if err != nil {
			return err
		}
		record, err := document.Decode(key, entry.Value())
		if err != nil {
			s.warn(entry, err)
		}
		found = engine.Stored{Record: record, Revision: entry.Revision()}
		return nil
	})
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return found, engine.ErrNotFound
	}
	return found, err
}

// Create implements engine.Store.
func (s *store) Create(ctx context.Context, r engine.Record) (uint64, error) {
	return s.put(ctx, r, func(kv jetstream.KeyValue, key string, value []byte) (uint64, error) {
		return kv.Create(ctx, key, value)
	})
}

// Update implements engine.Store.
func (s *store) Update(ctx context.Context, r engine.Record, revision uint64) (uint64, error) {
	return s.put(ctx, r, func(kv jetstream.KeyValue, key string, value []byte) (uint64, error) {
		return kv.Update(ctx, key, value, revision)
	})
}

func (s *store) put(ctx context.Context, r engine.Record, write func(jetstream.KeyValue, string, []byte) (uint64, error)) (uint64, error) {
	value, err := document.Encode(r)
	if err != nil {
		return 0, err
	}
	var revision uint64
	err = s.do(ctx, func(kv jetstream.KeyValue) (err error) {
		revision, err = write(kv, document.EncodeKey(r.Node.Key()), value)
		return err
	})
	return revision, conflict(err)
}

// Delete implements engine.Store. The marker it leaves tells readers that missed the event.
func (s *store) Delete(ctx context.Context, key dcplane.Key, revision uint64) error {
	return conflict(s.do(ctx, func(kv jetstream.KeyValue) error {
		return kv.Delete(ctx, document.EncodeKey(key), jetstream.LastRevision(revision))
	}))
}

// do runs one call on the bucket. When the bucket is gone it is made again and the call repeated once. After any failure
// the next call looks whether the bucket is still there: the client waits a while for a missing one to appear, so with a
// short deadline that looks like a server which does not answer.
func (s *store) do(ctx context.Context, call func(jetstream.KeyValue) error) error {
	if err := s.line.check(); err != nil {
		return err
	}
	kv, err := s.open(ctx)
	if err != nil {
		return err
	}
	err = call(kv)
	if err == nil || answered(err) {
		return err
	}
	s.forget()
	if !bucketGone(err) {
		return err
	}
	if kv, err = s.open(ctx); err != nil {
		return err
	}
	return call(kv)
}

// answered says that err is the bucket's own answer about a key.
func answered(err error) bool {
	return errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrKeyExists) ||
		errors.Is(err, jetstream.ErrKeyRevisionMismatch)
}

// conflict translates the server's refusal of a conditional write.
func conflict(err error) error {
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return fmt.Errorf("%w: %w", engine.ErrConflict, err)
	}
	return err
}

// warn logs an undecodable record once per revision.
func (s *store) warn(entry jetstream.KeyValueEntry, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.warned[entry.Key()] == entry.Revision() {
		return
	}
	if len(s.warned) >= 1000 { // somebody floods the bucket; better to repeat a few lines than to keep everything
		clear(s.warned)
	}
	s.warned[entry.Key()] = entry.Revision()
	s.logger.Warn("node record ignored", "key", entry.Key(), "err", err)
}
