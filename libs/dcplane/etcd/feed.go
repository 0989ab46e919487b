package etcd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// feed is one stream of the watch API with any number of watches on it. Two goroutines run it until close or until the
// stream breaks, which ends every watch; then a new feed is made. The client's own watcher would go on by itself on another
// connection, and hide that the server may have lost everything in between.
type feed struct {
	stream   pb.Watch_WatchClient
	end      context.CancelFunc
	requests chan *pb.WatchRequest
	probe    time.Duration
	wg       sync.WaitGroup
	done     chan struct{} // closed when the stream has ended

	mu      sync.Mutex
	watches map[int64]*watch
	lastID  int64
	heard   time.Time // of the last answer of any kind
	err     error     // why the stream ended
}

// maxRequests may wait to be sent. More mean that nothing gets through, and the stream is given up.
const maxRequests = 16

// openFeed opens a stream that asks for progress every probe. ctx bounds only the opening.
func openFeed(ctx context.Context, client *clientv3.Client, probe time.Duration) (*feed, error) {
	life, end := context.WithCancel(context.Background())
	release := context.AfterFunc(ctx, end)
	stream, err := pb.NewWatchClient(client.ActiveConnection()).Watch(clientv3.WithRequireLeader(life),
		grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if !release() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		end()
		return nil, explain("open watch", err)
	}
	f := &feed{
		stream: stream, end: end, requests: make(chan *pb.WatchRequest, maxRequests), probe: probe, done: make(chan struct{}),
		watches: make(map[int64]*watch), heard: time.Now(),
	}
	f.wg.Go(f.receive)
	f.wg.Go(f.send)
	return f, nil
}

// close ends the stream and waits for its goroutines.
func (f *feed) close() {
	f.end()
	f.wg.Wait()
}

// silent says that the stream has ended, or that two probes went unanswered.
func (f *feed) silent() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err != nil || time.Since(f.heard) >= 2*f.probe
}

// watch watches [from, to) beginning at revision. On success the server has confirmed it.
func (f *feed) watch(ctx context.Context, from, to string, revision int64, translate translator) (*watch, error) {
	w := &watch{feed: f, translate: translate, confirmed: make(chan struct{}), done: make(chan struct{})}
	f.mu.Lock()
	f.lastID++
	w.id = f.lastID
	f.watches[w.id] = w
	f.mu.Unlock()
	f.request(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
		WatchId: w.id, Key: []byte(from), RangeEnd: []byte(to), StartRevision: revision, Fragment: true,
	}}})
	var err error
	select {
	case <-w.confirmed:
		return w, nil
	case <-w.done:
		err = w.reason()
	case <-f.done:
		err = f.reason()
	case <-ctx.Done():
		err = ctx.Err()
	}
	w.Stop()
	return nil, explain("watch", err)
}

// request sends without waiting.
func (f *feed) request(r *pb.WatchRequest) {
	select {
	case f.requests <- r:
	default:
		f.end()
	}
}

func (f *feed) send() {
	ticker := time.NewTicker(f.probe)
	defer ticker.Stop()
	for {
		var r *pb.WatchRequest
		select {
		case <-f.done:
			return
		case r = <-f.requests:
		case <-ticker.C:
			r = &pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}}
		}
		if f.stream.Send(r) != nil {
			f.end() // receive learns why
			return
		}
	}
}

func (f *feed) receive() {
	for {
		r, err := f.stream.Recv()
		if err != nil {
			f.fail(err)
			return
		}
		if err := f.take(r); err != nil {
			f.fail(err)
			return
		}
	}
}

// take hands an answer to the watches that it is for. An error ends the stream.
func (f *feed) take(r *pb.WatchResponse) error {
	f.mu.Lock()
	f.heard = time.Now()
	var to []*watch
	if w, ok := f.watches[r.GetWatchId()]; ok {
		to = append(to, w)
		if r.GetCanceled() {
			delete(f.watches, w.id)
		}
	} else if r.GetWatchId() == clientv3.InvalidWatchID {
		for _, w := range f.watches {
			to = append(to, w)
		}
	}
	f.mu.Unlock()
	switch {
	case r.GetCanceled() && r.GetWatchId() == clientv3.InvalidWatchID:
		return refusal(r) // of a watch just asked for; the answer does not say which
	case r.GetCanceled():
		for _, w := range to {
			w.finish(refusal(r))
		}
	case r.GetCreated():
		for _, w := range to {
			close(w.confirmed)
		}
	default:
		for _, w := range to {
			w.take(r.GetEvents())
		}
	}
	return nil
}

// refusal is why the server ended a watch or did not make it.
func refusal(r *pb.WatchResponse) error {
	switch {
	case r.GetCompactRevision() != 0:
		return fmt.Errorf("%w, up to %d", rpctypes.ErrCompacted, r.GetCompactRevision())
	case r.GetCancelReason() != "":
		for _, known := range []error{rpctypes.ErrGRPCInvalidAuthToken, rpctypes.ErrGRPCAuthOldRevision, rpctypes.ErrGRPCUserEmpty} {
			if r.GetCancelReason() == known.Error() {
				return known
			}
		}
		return errors.New(r.GetCancelReason())
	default:
		return errors.New("ended by the server")
	}
}

// fail ends the feed and its watches.
func (f *feed) fail(err error) {
	f.end()
	f.mu.Lock()
	f.err = err
	all := f.watches
	f.watches = make(map[int64]*watch)
	f.mu.Unlock()
	close(f.done)
	for _, w := range all {
		w.finish(err)
	}
}

func (f *feed) reason() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// forget takes a watch off the stream.
func (f *feed) forget(w *watch) {
	f.mu.Lock()
	_, known := f.watches[w.id]
	delete(f.watches, w.id)
	f.mu.Unlock()
	if known {
		f.request(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{
			CancelRequest: &pb.WatchCancelRequest{WatchId: w.id},
		}})
	}
}
