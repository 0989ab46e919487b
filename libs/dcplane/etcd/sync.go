package etcd

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/internal/document"
	"github.com/parley-rt/parley/libs/dcplane/internal/engine"
)

// planeKey holds a random value, written by whoever finds it missing.
const planeKey = "plane"

// plane tells the contents that etcd has had apart.
type plane struct {
	identity   string
	revision   int64 // of the last listing
	generation uint64
}

// seen returns the generation of a listing. A revision lower than before is that of a backup put back.
func (p *plane) seen(identity string, revision int64) uint64 {
	if identity != p.identity || revision < p.revision {
		p.generation++
	}
	p.identity, p.revision = identity, revision
	return p.generation
}

// tombstone is the value of a node that deregistered. Its version is one that no record has.
const tombstone = `{"v":0,"gone":true}`

func isTombstone(value []byte) bool { return string(value) == tombstone }

// Sync implements engine.Store. One call at a time.
func (s *store) Sync(ctx context.Context) (dcplane.Listing, engine.Watch, error) {
	if err := s.login.ensure(ctx); err != nil {
		return dcplane.Listing{}, nil, err
	}
	listing, revision, err := s.list(ctx)
	if err != nil {
		return dcplane.Listing{}, nil, err
	}
	w, err := s.watch(ctx, revision+1)
	if err != nil {
		return dcplane.Listing{}, nil, err
	}
	return listing, w, nil
}

// list reads everything at one revision.
func (s *store) list(ctx context.Context) (dcplane.Listing, int64, error) {
	for {
		answer, err := s.client.Txn(ctx).Then(
			clientv3.OpGet(s.cfg.Prefix+planeKey),
			clientv3.OpGet(s.cfg.Prefix+document.KeyPrefix, clientv3.WithPrefix()),
		).Commit()
		if err != nil {
			return dcplane.Listing{}, 0, s.explain("list records", err)
		}
		identity, records := answer.Responses[0].GetResponseRange().GetKvs(), answer.Responses[1].GetResponseRange().GetKvs()
		if len(identity) == 0 {
			if err := s.found(ctx); err != nil {
				return dcplane.Listing{}, 0, err
			}
			continue // whoever wrote it; ctx bounds this
		}
		revision := answer.Header.Revision
		listing := dcplane.Listing{Generation: s.plane.seen(string(identity[0].Value), revision)}
		for _, kv := range records {
			if o, ok := s.observation(listing.Generation, &mvccpb.Event{Type: mvccpb.Event_PUT, Kv: kv}); ok {
				listing.Observations = append(listing.Observations, o)
			}
		}
		return listing, revision, nil
	}
}

// found gives a plane that lost its content, or never had one, an identity, unless somebody else does at the same moment.
func (s *store) found(ctx context.Context) error {
	key := s.cfg.Prefix + planeKey
	_, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, rand.Text())).Commit()
	if err != nil {
		return s.explain("write plane", err)
	}
	return nil
}

// watch opens a watch on the feed there is, or on a new one when that is broken or does not make it in time.
func (s *store) watch(ctx context.Context, revision int64) (*watch, error) {
	from := s.cfg.Prefix + document.KeyPrefix
	generation := s.plane.generation
	translate := func(e *mvccpb.Event) (dcplane.Observation, bool) { return s.observation(generation, e) }
	if s.feed != nil && !s.feed.silent() {
		early, cancel := context.WithTimeout(ctx, s.probe())
		w, err := s.feed.watch(early, from, clientv3.GetPrefixRangeEnd(from), revision, translate)
		cancel()
		if err == nil {
			return w, nil
		}
	}
	if s.feed != nil {
		s.feed.close()
		s.feed = nil
	}
	var err error
	if s.feed, err = openFeed(ctx, s.client, s.probe()); err != nil {
		return nil, s.login.note(err)
	}
	w, err := s.feed.watch(ctx, from, clientv3.GetPrefixRangeEnd(from), revision, translate)
	if err != nil {
		s.feed.close()
		s.feed = nil
		return nil, s.login.note(err)
	}
	return w, nil
}

// probe is half the silence after which the cache asks for a refresh.
func (s *store) probe() time.Duration { return s.cfg.timing().Lease / 8 }

// observation translates an event; false when there is nothing in it for the cache.
func (s *store) observation(generation uint64, e *mvccpb.Event) (dcplane.Observation, bool) {
	kv := e.Kv
	o := dcplane.Observation{Version: dcplane.Version{Generation: generation, Revision: uint64(kv.ModRevision)}}
	var err error
	if o.Key, err = document.DecodeKey(strings.TrimPrefix(string(kv.Key), s.cfg.Prefix)); err != nil {
		s.warn(kv, err)
		return o, false
	}
	switch {
	case e.Type == mvccpb.Event_DELETE:
		o.Lapsed = true
		return o, true
	case isTombstone(kv.Value):
		o.Deleted = true
		return o, true
	}
	record, err := document.Decode(o.Key, kv.Value)
	if err != nil {
		s.warn(kv, err)
		return o, false
	}
	o.Node = record.Node
	return o, true
}

// warn logs an undecodable record once per revision.
func (s *store) warn(kv *mvccpb.KeyValue, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := string(kv.Key)
	if s.warned[key] == kv.ModRevision {
		return
	}
	if len(s.warned) >= 1000 { // somebody floods the prefix; better to repeat a few lines than to keep everything
		clear(s.warned)
	}
	s.warned[key] = kv.ModRevision
	s.logger.Warn("node record ignored", "key", key, "err", err)
}
