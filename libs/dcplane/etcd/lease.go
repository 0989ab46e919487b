package etcd

import (
	"context"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// keeper keeps leases alive over one stream, one at a time. The client's own way would either open a stream for each
// renewal or renew in the background, where nobody learns whether it worked.
type keeper struct {
	client pb.LeaseClient
	// turn is held while talking and guards the stream.
	turn   chan struct{}
	stream pb.Lease_LeaseKeepAliveClient // nil: to be opened
	end    context.CancelFunc
}

func newKeeper(client *clientv3.Client) *keeper {
	return &keeper{client: pb.NewLeaseClient(client.ActiveConnection()), turn: make(chan struct{}, 1)}
}

// keepAlive renews a lease; false when it has run out.
func (k *keeper) keepAlive(ctx context.Context, id clientv3.LeaseID) (alive bool, err error) {
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if k.stream == nil {
		life, end := context.WithCancel(context.Background())
		k.end = end
		// ctx bounds the opening too.
		release := context.AfterFunc(ctx, end)
		k.stream, err = k.client.LeaseKeepAlive(clientv3.WithRequireLeader(life))
		if !release() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			k.drop()
			return false, explain("renew lease", err)
		}
	}
	release := context.AfterFunc(ctx, k.end)
	_ = k.stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(id)}) // Recv says why it failed
	answer, err := k.stream.Recv()
	if err == nil && answer.GetID() != int64(id) {
		err = fmt.Errorf("answer is about another lease: %x instead of %x", answer.GetID(), id)
	}
	if !release() && err == nil {
		err = ctx.Err() // the stream is broken, although the answer came
	}
	if err != nil {
		if cause := ctx.Err(); cause != nil {
			err = fmt.Errorf("%w: %w", err, cause)
		}
		k.drop()
		return false, explain("renew lease", err)
	}
	return answer.GetTTL() > 0, nil
}

// drop makes the next renewal open a new stream.
func (k *keeper) drop() {
	k.end()
	k.stream = nil
}

func (k *keeper) close() {
	k.turn <- struct{}{}
	defer func() { <-k.turn }()
	if k.stream != nil {
		k.drop()
	}
}
