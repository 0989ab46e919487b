package member

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

// Registry knows the connections of this node: by number, for answers; by session, so that a resumed session has one
// connection here; and by when they want to be woken, which is one clock for all of them. Safe for concurrent use.
type Registry struct {
	shards [registryShards]registryShard

	mu        sync.Mutex
	bySession map[persistence.SessionID]*Member

	// draining is set by Drain: connections that come later are told in add.
	draining atomic.Pointer[func() uint32]

	expiries expiries
}

// registryShards is a power of two.
const registryShards = 64

type registryShard struct {
	mu     sync.Mutex
	byConn map[uint64]*Member
	awake  map[*Member]struct{} // those with a due time
	// stopped: nobody takes turns any more.
	stopped bool
}

// place is what the registry keeps of a connection, in its Member.
type place struct {
	due time.Time // guarded by the lock of the registry's part; zero: nothing is due
	// expiry and gone are guarded by the expiries' lock.
	expiry *expiry
	gone   bool
	// generation and member are those of the session that it has; guarded by the registry's lock.
	generation uint64
	member     string
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	r := &Registry{bySession: map[persistence.SessionID]*Member{}}
	for i := range r.shards {
		r.shards[i].byConn = map[uint64]*Member{}
		r.shards[i].awake = map[*Member]struct{}{}
	}
	return r
}

func (r *Registry) shard(number uint64) *registryShard { return &r.shards[number%registryShards] }

// add makes a connection known; false: its shard has stopped.
func (r *Registry) add(m *Member) bool {
	s := r.shard(m.number)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.byConn[m.number] = m
	if afterMS := r.draining.Load(); afterMS != nil {
		m.tell(&drainMsg{to{m}, (*afterMS)()})
	}
	return true
}

// stop ends the connections of one of n shards, which takes no turns any more.
func (r *Registry) stop(shard, n int) {
	for i := shard; i < registryShards; i += n {
		s := &r.shards[i]
		s.mu.Lock()
		s.stopped = true
		members := slices.Collect(maps.Values(s.byConn))
		s.mu.Unlock()
		for _, m := range members {
			m.window.close()
			m.conn.CloseWith(clientv1.CloseCode_CLOSE_CODE_INTERNAL)
		}
	}
}

func (r *Registry) remove(m *Member) {
	r.expiries.remove(m)
	s := r.shard(m.number)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byConn, m.number)
	delete(s.awake, m)
}

// wake asks for a tick at that time or earlier.
func (r *Registry) wake(m *Member, at time.Time) {
	s := r.shard(m.number)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byConn[m.number] == m && (m.place.due.IsZero() || at.Before(m.place.due)) {
		m.place.due = at
		s.awake[m] = struct{}{}
	}
}

// claim makes a connection the session's. An older one of this node is told that it was replaced; false: there is a newer
// one.
func (r *Registry) claim(id persistence.SessionID, generation uint64, member string, m *Member) bool {
	r.mu.Lock()
	old := r.bySession[id]
	if old != nil && old.place.generation > generation {
		r.mu.Unlock()
		return false
	}
	m.place.generation, m.place.member = generation, member
	r.bySession[id] = m
	r.mu.Unlock()
	if old != nil && old != m {
		old.tell(&replacedMsg{to{old}})
	}
	return true
}

// release gives the session up, unless a newer connection has it.
func (r *Registry) release(id persistence.SessionID, m *Member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bySession[id] == m {
		delete(r.bySession, id)
	}
}

func (r *Registry) held() []persistence.HeldSession {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]persistence.HeldSession, 0, len(r.bySession))
	for id, m := range r.bySession {
		list = append(list, persistence.HeldSession{ID: id, Generation: m.place.generation})
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
		m := r.bySession[l.ID]
		switch {
		case m == nil || m.place.generation != generations[l.ID]:
		case l.Generation > m.place.generation:
			m.tell(&replacedMsg{to{m}})
		case l.Generation == 0:
			m.tell(&sessionGoneMsg{to{m}})
		}
	}
}

// Answer implements route.Members. An answer for a connection that is gone is dropped.
func (r *Registry) Answer(connection uint64, from string, f actorkit.Frame) {
	s := r.shard(connection)
	s.mu.Lock()
	m := s.byConn[connection]
	s.mu.Unlock()
	if m != nil {
		m.tell(&answerMsg{to{m}, from, f})
	}
}

// LinkDown implements route.Members.
func (r *Registry) LinkDown(node string) {
	r.tellAwake(func(t to) message { return &linkDownMsg{t, node} })
}

// LinkLost implements route.Members.
func (r *Registry) LinkLost(node string) {
	r.tellAwake(func(t to) message { return &linkLostMsg{t, node} })
}

// tellAwake tells the connections that wait for something.
func (r *Registry) tellAwake(msg func(to) message) {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		for m := range s.awake {
			m.tell(msg(to{m}))
		}
		s.mu.Unlock()
	}
}

// Tick wakes who is due. It wants to be called about every 100 ms.
func (r *Registry) Tick(now time.Time) {
	r.expiries.tick(now)
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		for m := range s.awake {
			if !now.Before(m.place.due) {
				m.place.due = time.Time{}
				delete(s.awake, m)
				m.tell(&tickMsg{to{m}})
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
		members := slices.Collect(maps.Values(s.byConn))
		s.mu.Unlock()
		for _, m := range members {
			m.tell(&drainMsg{to{m}, afterMS()})
			if n++; n%wave == 0 {
				pause()
			}
		}
	}
}
