package route

import (
	"container/list"
	"sync"
)

// owners remembers which node runs which room: a bounded map that forgets the least recently used. It is split so that
// connections on many cores do not wait for each other.
type owners struct {
	shards [ownerShards]ownerShard
	limit  int // per shard
}

const ownerShards = 16

type ownerShard struct {
	mu    sync.Mutex
	nodes map[string]*list.Element
	order list.List // of *owned, most recent first
}

type owned struct{ room, node string }

func newOwners(limit int) *owners {
	o := &owners{limit: max(1, limit/ownerShards)}
	for i := range o.shards {
		o.shards[i].nodes = map[string]*list.Element{}
	}
	return o
}

func (o *owners) shard(room string) *ownerShard { return &o.shards[Hash(room)%ownerShards] }

func (o *owners) get(room string) string {
	s := o.shard(room)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.nodes[room]
	if e == nil {
		return ""
	}
	s.order.MoveToFront(e)
	return e.Value.(*owned).node
}

func (o *owners) set(room, node string) {
	s := o.shard(room)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.nodes[room]; e != nil {
		e.Value.(*owned).node = node
		s.order.MoveToFront(e)
		return
	}
	s.nodes[room] = s.order.PushFront(&owned{room, node})
	if len(s.nodes) > o.limit {
		last := s.order.Back()
		s.order.Remove(last)
		delete(s.nodes, last.Value.(*owned).room)
	}
}

// Hash spreads room ids: 32-bit FNV-1a.
func Hash[T string | []byte](room T) uint32 {
	h := uint32(2166136261)
	for i := range len(room) {
		h = (h ^ uint32(room[i])) * 16777619
	}
	return h
}
