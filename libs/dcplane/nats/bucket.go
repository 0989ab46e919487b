package nats

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parley-rt/parley/libs/dcplane/internal/document"
)

// open returns a handle on the bucket, which it creates when it is missing. The handle goes by name and stays good when
// the bucket is made anew.
func (s *store) open(ctx context.Context) (jetstream.KeyValue, error) {
	s.mu.Lock()
	kv := s.kv
	s.mu.Unlock()
	if kv != nil {
		return kv, nil
	}
	kv, err := s.js.KeyValue(ctx, s.cfg.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = s.create(ctx)
	}
	if errors.Is(err, natsio.ErrNoResponders) {
		err = fmt.Errorf("jetstream does not answer; it is not enabled or still starting: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", s.cfg.Bucket, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kv = kv
	return kv, nil
}

// forget makes the next open look whether the bucket is still there.
func (s *store) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kv = nil
}

// create makes the bucket, or finds that somebody else just did.
func (s *store) create(ctx context.Context) (jetstream.KeyValue, error) {
	kv, err := s.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:       s.cfg.Bucket,
		Description:  "Parley node directory: one leased record per running node",
		TTL:          backstopTTL,
		History:      1,
		MaxValueSize: document.MaxBytes,
		MaxBytes:     maxBucketBytes,
		Storage:      jetstream.MemoryStorage,
		Replicas:     s.cfg.Replicas,
	})
	if errors.Is(err, jetstream.ErrBucketExists) {
		return s.js.KeyValue(ctx, s.cfg.Bucket)
	}
	return kv, err
}

// maxBucketBytes bounds what the bucket may take of the server's memory: some 30,000 nodes.
const maxBucketBytes = 32 << 20

// identify returns the creation time of the bucket's stream, and refuses a bucket that forgets living nodes.
func (s *store) identify(ctx context.Context, kv jetstream.KeyValue) (time.Time, error) {
	status, err := kv.Status(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("inspect bucket %s: %w", s.cfg.Bucket, err)
	}
	if lease := s.cfg.timing().Lease; status.TTL() != 0 && status.TTL() < 2*lease {
		return time.Time{}, fmt.Errorf("bucket %s has a ttl of %v, below twice the lease of %v", s.cfg.Bucket, status.TTL(), lease)
	}
	inspected, ok := status.(*jetstream.KeyValueBucketStatus)
	if !ok {
		return time.Time{}, fmt.Errorf("inspect bucket %s: unexpected status %T", s.cfg.Bucket, status)
	}
	return inspected.StreamInfo().Created, nil
}

// generationOf numbers the streams this bucket has had, as told apart by their creation time.
func (s *store) generationOf(created time.Time) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !created.Equal(s.created) {
		s.created = created
		s.generation++
	}
	return s.generation
}

// bucketGone says that a call failed because nothing listens on the bucket's subjects.
func bucketGone(err error) bool {
	return errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, jetstream.ErrStreamNotFound) ||
		errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, natsio.ErrNoResponders)
}
