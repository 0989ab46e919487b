package etcd

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/internal/document"
	"github.com/parley-rt/parley/libs/dcplane/internal/engine"
)

// store implements engine.Store below one prefix.
type store struct {
	cfg    Config
	logger *slog.Logger
	client *clientv3.Client
	login  *login
	keeper *keeper

	// Owned by Sync, which is called by one at a time, and Close.
	feed  *feed
	plane plane

	mu     sync.Mutex
	owned  map[dcplane.Key]owned
	warned map[string]int64 // undecodable records by key, with the revision the log knows
}

// owned is a record of ours as it was last stored.
type owned struct {
	lease    clientv3.LeaseID
	value    []byte
	revision uint64 // 0: the lease was granted, the record not known to be stored
}

func newStore(cfg Config) (*store, error) {
	l := newLogin(cfg.Username, cfg.Password)
	client, err := connect(cfg, l)
	if err != nil {
		return nil, err
	}
	return &store{
		cfg: cfg, logger: cfg.Logger, client: client, login: l,
		keeper: newKeeper(client), owned: make(map[dcplane.Key]owned), warned: make(map[string]int64),
	}, nil
}

// Close implements engine.Store.
func (s *store) Close() {
	if s.feed != nil {
		s.feed.close()
	}
	s.keeper.close()
	s.login.close()
	_ = s.client.Close() // says that its context is canceled
}

func (s *store) key(k dcplane.Key) string { return s.cfg.Prefix + document.EncodeKey(k) }

// Get implements engine.Store. A tombstone is no record.
func (s *store) Get(ctx context.Context, key dcplane.Key) (engine.Stored, error) {
	if err := s.login.ensure(ctx); err != nil {
		return engine.Stored{}, err
	}
	answer, err := s.client.Get(ctx, s.key(key))
	if err != nil {
		return engine.Stored{}, s.explain("read record", err)
	}
	if len(answer.Kvs) == 0 || isTombstone(answer.Kvs[0].Value) {
		return engine.Stored{}, engine.ErrNotFound
	}
	kv := answer.Kvs[0]
	record, err := document.Decode(key, kv.Value)
	if err != nil {
		s.warn(kv, err)
	}
	return engine.Stored{Record: record, Revision: uint64(kv.ModRevision)}, nil
}

// Create implements engine.Store. It writes over a tombstone.
func (s *store) Create(ctx context.Context, r engine.Record) (uint64, error) {
	key := r.Node.Key()
	revision, err := s.write(ctx, r, 0)
	if !errors.Is(err, engine.ErrConflict) {
		return revision, err
	}
	answer, getErr := s.client.Get(ctx, s.key(key))
	if getErr != nil {
		return 0, s.explain("read record", getErr)
	}
	if len(answer.Kvs) == 0 || !isTombstone(answer.Kvs[0].Value) {
		return 0, err
	}
	return s.write(ctx, r, uint64(answer.Kvs[0].ModRevision))
}

// Update implements engine.Store.
func (s *store) Update(ctx context.Context, r engine.Record, revision uint64) (uint64, error) {
	return s.write(ctx, r, revision)
}

// write stores a record whose key has this revision (0: none) and renews its lease.
func (s *store) write(ctx context.Context, r engine.Record, revision uint64) (uint64, error) {
	value, err := document.Encode(r)
	if err != nil {
		return 0, err
	}
	if err := s.login.ensure(ctx); err != nil {
		return 0, err
	}
	key := r.Node.Key()
	mine, err := s.renew(ctx, key)
	if err != nil {
		return 0, err
	}
	if mine.revision != 0 && mine.revision == revision && bytes.Equal(mine.value, value) {
		return s.confirm(ctx, key, revision)
	}
	stored, err := s.put(ctx, key, value, mine.lease, revision)
	if err == nil {
		s.own(key, owned{lease: mine.lease, value: value, revision: stored})
	}
	return stored, err
}

// renew returns what we have under the key, with a lease that lives for a whole TTL from now.
func (s *store) renew(ctx context.Context, key dcplane.Key) (owned, error) {
	s.mu.Lock()
	mine, ok := s.owned[key]
	s.mu.Unlock()
	if ok {
		alive, err := s.keeper.keepAlive(ctx, mine.lease)
		if err != nil || alive {
			return mine, s.login.note(err)
		}
	}
	granted, err := s.client.Grant(ctx, s.cfg.ttl())
	if err != nil {
		return owned{}, s.explain("grant lease", err)
	}
	mine = owned{lease: granted.ID} // the record has gone with the old lease
	s.own(key, mine)
	return mine, nil
}

func (s *store) own(key dcplane.Key, o owned) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owned[key] = o
}

func (s *store) disown(key dcplane.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.owned, key)
}

// confirm reads whether an unchanged record is still the one stored.
func (s *store) confirm(ctx context.Context, key dcplane.Key, revision uint64) (uint64, error) {
	answer, err := s.client.Get(ctx, s.key(key), clientv3.WithKeysOnly())
	switch {
	case err != nil:
		return 0, s.explain("confirm record", err)
	case len(answer.Kvs) == 0 || answer.Kvs[0].ModRevision != int64(revision):
		return 0, engine.ErrConflict
	default:
		return revision, nil
	}
}

// put writes a value under a lease if the key has this revision.
func (s *store) put(ctx context.Context, key dcplane.Key, value []byte, lease clientv3.LeaseID, revision uint64) (uint64, error) {
	answer, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(s.key(key)), "=", int64(revision))).
		Then(clientv3.OpPut(s.key(key), string(value), clientv3.WithLease(lease))).Commit()
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		s.disown(key) // it ran out after it was renewed; the next attempt gets another one
		return 0, s.explain("write record", err)
	case err != nil:
		return 0, s.explain("write record", err)
	case !answer.Succeeded:
		return 0, engine.ErrConflict
	default:
		return uint64(answer.Header.Revision), nil
	}
}

// Delete implements engine.Store. The tombstone it leaves tells readers, also those that missed the event, that the node
// deregistered; it is removed by its lease, which nobody renews.
func (s *store) Delete(ctx context.Context, key dcplane.Key, revision uint64) error {
	if err := s.login.ensure(ctx); err != nil {
		return err
	}
	mine, err := s.renew(ctx, key)
	if err != nil {
		return err
	}
	if _, err := s.put(ctx, key, []byte(tombstone), mine.lease, revision); err != nil {
		return err
	}
	s.disown(key)
	return nil
}

// explain is explain, and tells the login of a refused token.
func (s *store) explain(what string, err error) error {
	return s.login.note(explain(what, err))
}
