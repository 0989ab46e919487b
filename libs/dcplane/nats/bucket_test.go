package nats

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/dcplanetest"
	"github.com/parley-rt/parley/libs/dcplane/internal/document"
	"github.com/parley-rt/parley/libs/dcplane/internal/engine"
)

func TestBucketSettings(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	d := p.Open(t, dcplanetest.Timing{})
	_, err := d.Register(t.Context(), sample())
	require.NoError(t, err)
	stream, err := p.admin(t).Stream(t.Context(), "KV_parley_nodes")
	require.NoError(t, err)
	c := stream.CachedInfo().Config
	require.Equal(t, jetstream.MemoryStorage, c.Storage)
	require.EqualValues(t, 1, c.MaxMsgsPerSubject)
	require.Equal(t, time.Minute, c.MaxAge)
	require.EqualValues(t, maxBucketBytes, c.MaxBytes)
	kv, err := p.admin(t).KeyValue(t.Context(), "parley_nodes")
	require.NoError(t, err)
	entry, err := kv.Get(t.Context(), "nodes/dc-a/rooms/rooms-1")
	require.NoError(t, err)
	require.Contains(t, string(entry.Value()), `{"v":1,"claim":`)
}

// TestBucketMadeByManyAtOnce: every process of a deployment starts at the same moment.
func TestBucketMadeByManyAtOnce(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	const count = 8
	errs := make([]error, count)
	var wg sync.WaitGroup
	for i := range count {
		wg.Go(func() {
			var d dcplane.Directory
			if d, errs[i] = Connect(t.Context(), p.config(dcplanetest.Timing{})); errs[i] == nil {
				errs[i] = d.Close(t.Context())
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
}

func TestBucketThatForgetsTooSoonIsRefused(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	_, err := p.admin(t).CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: DefaultBucket, TTL: 5 * time.Second})
	require.NoError(t, err)
	require.ErrorContains(t, unready(t, p.config(dcplanetest.Timing{})), "bucket parley_nodes has a ttl of 5s, below twice the lease of 4s")
}

func TestBucketMadeByTheOperatorIsUsed(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	_, err := p.admin(t).CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: DefaultBucket, Storage: jetstream.FileStorage, History: 5})
	require.NoError(t, err)
	writer, reader := p.Open(t, dcplanetest.Timing{}), p.Open(t, dcplanetest.Timing{})
	_, err = writer.Register(t.Context(), sample())
	require.NoError(t, err)
	awaitNode(t, reader, sample())
}

// TestBucketDeletedWhileRunning: the connection stays up, only the bucket vanishes; everybody finds back by themselves.
func TestBucketDeletedWhileRunning(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	timing := dcplanetest.Timing{Lease: 15 * time.Second, RefreshEvery: time.Minute} // nothing here waits for a lease
	writer, reader := p.Open(t, timing), p.Open(t, timing)
	r, err := writer.Register(t.Context(), sample())
	require.NoError(t, err)
	for range 50 { // so that the new bucket's numbers lie far below the old one's
		require.NoError(t, r.Update(t.Context(), dcplane.StateReady, 0.25))
	}
	awaitNode(t, reader, sample())
	require.NoError(t, p.admin(t).DeleteKeyValue(t.Context(), DefaultBucket))

	draining := sample()
	draining.State = dcplane.StateDraining
	require.NoError(t, r.Update(t.Context(), draining.State, draining.Load))
	await(t, reader, func() bool {
		got, ok := reader.Lookup("dc-a", "rooms", "rooms-1")
		require.True(t, ok, "removed although it lives")
		return got == draining
	})
	require.NoError(t, r.Deregister(t.Context()))
	await(t, reader, func() bool { return len(reader.Nodes("dc-a", "rooms")) == 0 })
}

// TestForeignRecordsAreIgnored: what others put into the bucket is logged once and harms nobody.
func TestForeignRecordsAreIgnored(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	log := &lockedBuffer{written: make(chan struct{}, 1)}
	cfg := p.config(dcplanetest.Timing{})
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	d := connect(t, cfg)
	kv, err := p.admin(t).KeyValue(t.Context(), DefaultBucket)
	require.NoError(t, err)
	foreign := map[string]string{
		"nodes/dc-a/rooms/garbage":   "\xff\x00",
		"nodes/dc-a/rooms/elsewhere": record(t),
		"nodes/dc-a/rooms/=41":       record(t),
		"nodes/short":                record(t),
		"intent/dc-a":                `{"state":"ACTIVE"}`,
	}
	for key, value := range foreign {
		_, err := kv.Put(t.Context(), key, []byte(value))
		require.NoError(t, err)
	}
	r, err := d.Register(t.Context(), sample())
	require.NoError(t, err)
	awaitNode(t, d, sample())
	n := sample()
	for range 2 { // two refreshes later
		refreshed := d.LastRefresh()
		d.(*directory).engine.Kick()
		for !d.LastRefresh().After(refreshed) {
			n.Load++
			require.NoError(t, r.Update(t.Context(), n.State, n.Load))
			awaitNode(t, d, n)
		}
	}
	require.Len(t, d.Nodes("dc-a", "rooms"), 1)
	for key := range foreign {
		require.Equal(t, 1, strings.Count(log.String(), "key="+key+" ")+strings.Count(log.String(), `key="`+key+`" `), "%s in %s", key, log)
	}
}

// TestOverwrittenRecordIsRepaired: a registration whose record somebody scribbled over writes it again.
func TestOverwrittenRecordIsRepaired(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	timing := dcplanetest.Timing{Lease: time.Second}
	d := p.Open(t, timing)
	_, err := d.Register(t.Context(), sample())
	require.NoError(t, err)
	kv, err := p.admin(t).KeyValue(t.Context(), DefaultBucket)
	require.NoError(t, err)
	written, err := kv.Put(t.Context(), document.EncodeKey(sample().Key()), []byte("scribble"))
	require.NoError(t, err)
	watcher, err := kv.Watch(t.Context(), document.EncodeKey(sample().Key()))
	require.NoError(t, err)
	deadline := time.After(patience)
	for repaired := false; !repaired; {
		select {
		case entry := <-watcher.Updates():
			repaired = entry != nil && entry.Revision() > written && strings.HasPrefix(string(entry.Value()), `{"v":1`)
		case <-deadline:
			require.FailNow(t, "never repaired")
		}
	}
	require.NoError(t, watcher.Stop())
	awaitNode(t, d, sample())
}

func sample() dcplane.Node {
	return dcplane.Node{
		Service: "rooms", DC: "dc-a", Region: "eu", Name: "rooms-1", Incarnation: "7f", Host: "10.0.0.1", RemotingPort: 4001,
		State: dcplane.StateReady, Load: 0.25, Version: "v1.2.3",
	}
}

// record is a well-formed one, of sample.
func record(t *testing.T) string {
	t.Helper()
	value, err := document.Encode(engine.Record{Node: sample(), Claim: 1700000000000})
	require.NoError(t, err)
	return string(value)
}
