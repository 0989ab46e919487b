package member

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
)

// Registry knows the connections of this node: by number, for answers; by session, so that a resumed session has one
// connection here; and by when they want to be woken, which is one clock for all of them. Safe for concurrent use.
type Registry struct {
	shards [registryShards]registryShard

	mu        sync.Mutex
	bySession map[persistence.SessionID]held

	// draining is set by Drain: connections whose actor is not known yet are told in bind.
	draining atomic.Pointer[func() uint32]

	expiries expiries
}

const registryShards = 32

type registryShard struct {
	mu     sync.Mutex
	byConn map[uint64]*entry
	awake  map[*entry]struct{} // those with a due time
}

// entry is one connection.
type entry struct {
	number uint64
	pid    *actor.PID // guarded by the shard's lock until it is bound; nil before
	due    time.Time  // guarded by the shard's lock; zero: nothing is due
	// expiry and gone are guarded by the expiries' lock.
	expiry *expiry
	gone   bool
}

type held struct {
	generation uint64
	member     string
	entry      *entry
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	r := &Registry{bySession: map[persistence.SessionID]held{}}
	for i := range r.shards {
		r.shards[i].byConn = map[uint64]*entry{}
		r.shards[i].awake = map[*entry]struct{}{}
	}
	return r
}

func (r *Registry) shard(number uint64) *registryShard { return &r.shards[number%registryShards] }

func (r *Registry) add(number uint64, pid *actor.PID) *entry {
	e := &entry{number: number, pid: pid}
	s := r.shard(number)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byConn[number] = e
	return e
}

// bind tells which actor a connection has; until then it gets nothing.
func (r *Registry) bind(e *entry, pid *actor.PID) {
	s := r.shard(e.number)
	s.mu.Lock()
	defer s.mu.Unlock()
	e.pid = pid
	if afterMS := r.draining.Load(); afterMS != nil {
		tell(pid, &drainMsg{afterMS: (*afterMS)()})
	}
}

func (r *Registry) remove(e *entry) {
	r.expiries.remove(e)
	s := r.shard(e.number)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byConn, e.number)
	delete(s.awake, e)
}

// wake asks for a tick at that time or earlier.
func (r *Registry) wake(e *entry, at time.Time) {
	s := r.shard(e.number)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byConn[e.number] == e && (e.due.IsZero() || at.Before(e.due)) {
		e.due = at
		s.awake[e] = struct{}{}
	}
}

// claim makes a connection the session's. An older one of this node is told that it was replaced; false: there is a newer
// one.
func (r *Registry) claim(id persistence.SessionID, generation uint64, member string, e *entry) bool {
	r.mu.Lock()
	old, ok := r.bySession[id]
	if ok && old.generation > generation {
		r.mu.Unlock()
		return false
	}
	r.bySession[id] = held{generation, member, e}
	r.mu.Unlock()
	if ok && old.entry != e {
		tell(old.entry.pid, &replacedMsg{})
	}
	return true
}

// release gives the session up, unless a newer connection has it.
func (r *Registry) release(id persistence.SessionID, e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bySession[id].entry == e {
		delete(r.bySession, id)
	}
}

func (r *Registry) held() []persistence.HeldSession {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]persistence.HeldSession, 0, len(r.bySession))
	for id, h := range r.bySession {
		list = append(list, persistence.HeldSession{ID: id, Generation: h.generation})
	}
	return list
}

// lose tells connections that the store has something else of their session than what they asked about: a newer generation,
// or nothing. One that was replaced here meanwhile knows already.
func (r *Registry) lose(asked, lost []persistence.HeldSession) {
	if len(lost) == 0 {
		return
	}
	generations := make(map[persistence.SessionID]uint64, len(asked))
	for _, h := range asked {
		generations[h.ID] = h.Generation
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range lost {
		h, ok := r.bySession[l.ID]
		switch {
		case !ok || h.generation != generations[l.ID]:
		case l.Generation > h.generation:
			tell(h.entry.pid, &replacedMsg{})
		case l.Generation == 0:
			tell(h.entry.pid, &sessionGoneMsg{})
		}
	}
}

// Answer implements route.Members. An answer for a connection that is gone is dropped.
func (r *Registry) Answer(connection uint64, from string, f actorkit.Frame) {
	s := r.shard(connection)
	var pid *actor.PID
	s.mu.Lock()
	if e := s.byConn[connection]; e != nil {
		pid = e.pid
	}
	s.mu.Unlock()
	if pid != nil {
		tell(pid, &answerMsg{from: from, frame: f})
	}
}

// LinkDown implements route.Members.
func (r *Registry) LinkDown(node string) { r.tellAwake(&linkDownMsg{node: node}) }

// LinkLost implements route.Members.
func (r *Registry) LinkLost(node string) { r.tellAwake(&linkLostMsg{node: node}) }

// tellAwake tells the connections that wait for something.
func (r *Registry) tellAwake(m any) {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		for e := range s.awake {
			tell(e.pid, m)
		}
		s.mu.Unlock()
	}
}

// Tick wakes who is due. It wants to be called about every 100 ms.
func (r *Registry) Tick(now time.Time) {
	r.expiries.tick(now)
	m := &tickMsg{}
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		for e := range s.awake {
			if !now.Before(e.due) {
				e.due = time.Time{}
				delete(s.awake, e)
				tell(e.pid, m)
			}
		}
		s.mu.Unlock()
	}
}

// Drain tells all connections to come back after a time of their own; the spread keeps them from coming together. pause
// is called after each of so many and may sleep. Connections that are opened meanwhile or later are told at once; afterMS
// must be safe for concurrent use.
func (r *Registry) Drain(afterMS func() uint32, wave int, pause func()) {
	r.draining.Store(&afterMS)
	n := 0
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		pids := make([]*actor.PID, 0, len(s.byConn))
		for _, e := range s.byConn {
			if e.pid != nil {
				pids = append(pids, e.pid)
			}
		}
		s.mu.Unlock()
		for _, pid := range pids {
			tell(pid, &drainMsg{afterMS: afterMS()})
			if n++; n%wave == 0 {
				pause()
			}
		}
	}
}

// tell gives a message to a connection's actor. It fails only when that has stopped.
func tell(pid *actor.PID, m any) bool { return actor.Tell(context.Background(), pid, m) == nil }
