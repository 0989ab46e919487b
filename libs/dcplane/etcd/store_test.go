package etcd

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/dcplanetest"
	"github.com/parley-rt/parley/libs/dcplane/etcd/etcdtest"
	"github.com/parley-rt/parley/libs/dcplane/internal/document"
	"github.com/parley-rt/parley/libs/dcplane/internal/engine"
)

// long is for tests in which no lease may end.
var long = dcplanetest.Timing{Lease: 15 * time.Second, RefreshEvery: time.Minute, MaxCacheStaleness: time.Minute}

func keyOf(p *testPlane, n dcplane.Node) string { return p.prefix + document.EncodeKey(n.Key()) }

func get(t *testing.T, client *clientv3.Client, key string) *clientv3.GetResponse {
	t.Helper()
	answer, err := client.Get(within(t), key, clientv3.WithPrefix())
	require.NoError(t, err)
	return answer
}

func TestLayout(t *testing.T) {
	t.Parallel()
	p := newPlane(t, etcdtest.Start(t, etcdtest.Options{}), cutOff)
	cfg := p.config(dcplanetest.Timing{})
	cfg.Prefix = ""
	d := openAndClose(t, cfg)
	r, err := d.Register(within(t), sample())
	require.NoError(t, err)
	require.NoError(t, dcplane.AwaitReady(within(t), d))
	all := get(t, p.admin(t), "").Kvs
	require.Len(t, all, 2)
	require.Equal(t, "/parley/nodes/dc-a/rooms/rooms-1", string(all[0].Key))
	require.Contains(t, string(all[0].Value), `{"v":1,"claim":`)
	require.Equal(t, "/parley/plane", string(all[1].Key))
	require.Zero(t, all[1].Lease)
	lease, err := p.admin(t).TimeToLive(within(t), clientv3.LeaseID(all[0].Lease))
	require.NoError(t, err)
	require.EqualValues(t, 4, lease.GrantedTTL)

	require.NoError(t, r.Deregister(within(t)))
	left := get(t, p.admin(t), "/parley/nodes/").Kvs
	require.Len(t, left, 1)
	require.Equal(t, tombstone, string(left[0].Value))
	removed := p.admin(t).Watch(within(t), string(left[0].Key), clientv3.WithRev(left[0].ModRevision+1))
	event := <-removed
	require.NoError(t, event.Err())
	require.Equal(t, clientv3.EventTypeDelete, event.Events[0].Type, "its lease removes the tombstone")
	require.Empty(t, get(t, p.admin(t), "/parley/nodes/").Kvs)
}

// TestRenewalsWriteNothing: etcd keeps every revision until it is compacted, so a write per renewal would fill it.
func TestRenewalsWriteNothing(t *testing.T) {
	t.Parallel()
	p := newPlane(t, etcdtest.Start(t, etcdtest.Options{}), cutOff)
	d := p.Open(t, dcplanetest.Timing{Lease: 2 * time.Second})
	r, err := d.Register(within(t), sample())
	require.NoError(t, err)
	before := get(t, p.admin(t), keyOf(p, sample()))
	lease := clientv3.LeaseID(before.Kvs[0].Lease)
	// As long as two leases, in which one that nobody renews is gone.
	other, err := p.admin(t).Grant(within(t), 4)
	require.NoError(t, err)
	_, err = p.admin(t).Put(within(t), "/other", "x", clientv3.WithLease(other.ID))
	require.NoError(t, err)
	for event := range p.admin(t).Watch(within(t), "/other", clientv3.WithFilterPut()) {
		require.NoError(t, event.Err())
		break
	}
	require.NoError(t, r.Update(within(t), sample().State, sample().Load), "no news, no write")
	after := get(t, p.admin(t), keyOf(p, sample()))
	require.Equal(t, before.Kvs[0].ModRevision, after.Kvs[0].ModRevision)
	require.Equal(t, before.Header.Revision+2, after.Header.Revision, "written and removed were the other key alone")
	left, err := p.admin(t).TimeToLive(within(t), lease)
	require.NoError(t, err)
	require.Positive(t, left.TTL)
	require.True(t, d.Ready())
}

// TestNodeDeletedByHand: somebody removes a key; the node that it is of writes it again.
func TestNodeDeletedByHand(t *testing.T) {
	t.Parallel()
	p := newPlane(t, etcdtest.Start(t, etcdtest.Options{}), cutOff)
	writer, reader := p.Open(t, dcplanetest.Timing{}), p.Open(t, dcplanetest.Timing{})
	_, err := writer.Register(within(t), sample())
	require.NoError(t, err)
	awaitNode(t, reader, sample())
	deleted, err := p.admin(t).Delete(within(t), keyOf(p, sample()))
	require.NoError(t, err)
	written := <-p.admin(t).Watch(within(t), keyOf(p, sample()), clientv3.WithRev(deleted.Header.Revision+1), clientv3.WithFilterDelete())
	require.NoError(t, written.Err())
	awaitNode(t, reader, sample())
}

// TestEverythingDeletedByHand: the server goes on and only the content is gone; nobody who lives is removed.
func TestEverythingDeletedByHand(t *testing.T) {
	t.Parallel()
	p := newPlane(t, etcdtest.Start(t, etcdtest.Options{}), cutOff)
	writer, reader := p.Open(t, long), p.Open(t, long)
	r, err := writer.Register(within(t), sample())
	require.NoError(t, err)
	awaitNode(t, reader, sample())
	_, err = p.admin(t).Delete(within(t), p.prefix, clientv3.WithPrefix())
	require.NoError(t, err)
	draining := sample()
	draining.State = dcplane.StateDraining
	require.NoError(t, r.Update(within(t), draining.State, draining.Load))
	await(t, reader, func() bool {
		got, ok := reader.Lookup("dc-a", "rooms", "rooms-1")
		require.True(t, ok, "removed although it lives")
		return got == draining
	})
	fresh := p.Open(t, long)
	awaitNode(t, fresh, draining)
	require.NoError(t, r.Deregister(within(t)))
	await(t, reader, func() bool { return len(reader.Nodes("dc-a", "rooms")) == 0 })
}

// TestOverwrittenRecordIsRepaired: a registration whose record somebody scribbled over writes it again.
func TestOverwrittenRecordIsRepaired(t *testing.T) {
	t.Parallel()
	p := newPlane(t, etcdtest.Start(t, etcdtest.Options{}), cutOff)
	d := p.Open(t, dcplanetest.Timing{})
	_, err := d.Register(within(t), sample())
	require.NoError(t, err)
	scribble, err := p.admin(t).Put(within(t), keyOf(p, sample()), "scribble")
	require.NoError(t, err)
	repaired := <-p.admin(t).Watch(within(t), keyOf(p, sample()), clientv3.WithRev(scribble.Header.Revision+1))
	require.NoError(t, repaired.Err())
	require.Contains(t, string(repaired.Events[0].Kv.Value), `{"v":1`)
	awaitNode(t, d, sample())
}

// TestForeignRecordsAreIgnored: what others put below the prefix is logged once and harms nobody.
func TestForeignRecordsAreIgnored(t *testing.T) {
	t.Parallel()
	p := newPlane(t, etcdtest.Start(t, etcdtest.Options{}), cutOff)
	log := &lockedBuffer{}
	cfg := p.config(long)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	d := openAndClose(t, cfg)
	value, err := document.Encode(engine.Record{Node: sample(), Claim: 1})
	require.NoError(t, err)
	foreign := map[string]string{
		"nodes/dc-a/rooms/garbage":   "\xff\x00",
		"nodes/dc-a/rooms/elsewhere": string(value),
		"nodes/dc-a/rooms/=41":       string(value),
		"nodes/short":                string(value),
		"nodesomething":              string(value), // not below nodes/
		"intent/dc-a":                `{"state":"ACTIVE"}`,
	}
	for key, value := range foreign {
		_, err := p.admin(t).Put(within(t), p.prefix+key, value)
		require.NoError(t, err)
	}
	r, err := d.Register(within(t), sample())
	require.NoError(t, err)
	awaitNode(t, d, sample())
	n := sample()
	for range 2 { // two refreshes later
		refreshed := d.LastRefresh()
		d.(*engine.Directory).Kick()
		for !d.LastRefresh().After(refreshed) {
			n.Load++
			require.NoError(t, r.Update(within(t), n.State, n.Load))
			awaitNode(t, d, n)
		}
	}
	require.Len(t, d.Nodes("dc-a", "rooms"), 1)
	for key := range foreign {
		want := 0
		if strings.HasPrefix(key, "nodes/") {
			want = 1
		}
		text := log.String()
		require.Equal(t, want, strings.Count(text, "key="+p.prefix+key+" ")+strings.Count(text, `key="`+p.prefix+key+`" `), "%s in %s", key, text)
	}
}

// TestPrefixesAreApart: deployments that share an etcd do not see each other.
func TestPrefixesAreApart(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t, etcdtest.Options{})
	one, two := newPlane(t, server, cutOff).Open(t, long), newPlane(t, server, cutOff).Open(t, long)
	_, err := one.Register(within(t), sample())
	require.NoError(t, err)
	other := sample()
	other.Incarnation = "8f"
	_, err = two.Register(within(t), other)
	require.NoError(t, err)
	awaitNode(t, one, sample())
	awaitNode(t, two, other)
}

// lockedBuffer is a log that tests read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
