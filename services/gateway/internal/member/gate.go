package member

import (
	"container/list"
	"runtime"
	"sync"
	"time"
)

// GateConfig bounds how many come in at once. Zero values mean the default named at each field.
type GateConfig struct {
	// AtOnce is how many connections may be opening: from asking the session store until the rooms of the session are joined.
	// More would not come in sooner, but stand in the way of everything else that the processors do. Default 8 for each.
	AtOnce int
	// MaxAge is how long the first of those that wait may have waited for newcomers to be let in still. Default 1 s.
	MaxAge time.Duration
	// MaxWaiting is how many may wait for newcomers to be let in still. Default 4,096.
	MaxWaiting int
	// ReturnSoonest and ReturnLatest bound when those that are not let in are told to come back. Defaults 1 s and 30 s.
	ReturnSoonest, ReturnLatest time.Duration
	// MinRate is how many a second are told to come back at least. Default 200.
	MinRate float64
}

func (c GateConfig) withDefaults() GateConfig {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	dur := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.AtOnce, 8*runtime.GOMAXPROCS(0))
	def(&c.MaxWaiting, 4096)
	dur(&c.MaxAge, time.Second)
	dur(&c.ReturnSoonest, time.Second)
	dur(&c.ReturnLatest, 30*time.Second)
	if c.MinRate == 0 {
		c.MinRate = 200
	}
	return c
}

// Gate lets a herd in at the pace that the node and what is behind it can take, so that those who are in already notice
// little of it.
//
//	newcomer ──Admit──► connection ──Enter──► waiting, in order ──place free──► opening ──Leave──► open
//	   │ the first of those that wait has waited for MaxAge           │ OpenWithin
//	   ▼                                                              ▼
//	503, Retry-After                                       reconnect{after_ms}, 4002
//
// Those that are sent away are told times at which it is their turn, one behind the other, at the pace at which others are taken:
// they do not come back as a herd. Safe for concurrent use.
type Gate struct {
	cfg GateConfig
	now func() time.Time

	mu      sync.Mutex
	opening int
	waiting list.List // of *Turn
	// outlook, if set, is at what rate those that are sent away are to come back, and in how long at the soonest.
	outlook func() (perSecond float64, after time.Duration)
	// returning is the turn that was told last.
	returning time.Time
}

// Turn is one connection's way through the gate.
type Turn struct {
	gate  *Gate
	since time.Time
	begin func()
	place *list.Element // while it waits
	over  bool
}

// NewGate returns an open gate.
func NewGate(cfg GateConfig, now func() time.Time) *Gate {
	return &Gate{cfg: cfg.withDefaults(), now: now}
}

// PacedBy has those that are sent away told turns by the pace at which newcomers are taken elsewhere: so many a second, the first
// after some time. To be called before anybody comes.
func (g *Gate) PacedBy(outlook func() (perSecond float64, after time.Duration)) { g.outlook = outlook }

// Enter takes a place. When there is none, begin is called once it is the Turn's; it must not block. The Turn is to be left in
// any case.
func (g *Gate) Enter(begin func()) (t *Turn, now bool) {
	t = &Turn{gate: g, since: g.now(), begin: begin}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opening < g.cfg.AtOnce {
		g.opening++
		return t, true
	}
	t.place = g.waiting.PushBack(t)
	return t, false
}

// Leave gives the place up, or the wait for one. Leaving twice is harmless.
func (t *Turn) Leave() {
	g := t.gate
	g.mu.Lock()
	if t.over {
		g.mu.Unlock()
		return
	}
	t.over = true
	if t.place != nil {
		g.waiting.Remove(t.place)
		t.place = nil
		g.mu.Unlock()
		return
	}
	next := g.waiting.Front()
	if next == nil {
		g.opening--
		g.mu.Unlock()
		return
	}
	n := g.waiting.Remove(next).(*Turn) //nolint:forcetypeassert // nothing else is in it
	n.place = nil
	g.mu.Unlock()
	n.begin()
}

// Admit says whether a newcomer may come in now; if not, in how long it is to come back.
func (g *Gate) Admit() (after time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := g.waiting.Front()
	if first == nil {
		return 0, true
	}
	waited := g.now().Sub(first.Value.(*Turn).since) //nolint:forcetypeassert // as above
	if waited < g.cfg.MaxAge && g.waiting.Len() < g.cfg.MaxWaiting {
		return 0, true
	}
	return g.later(), false
}

// Later says in how long somebody who is sent away is to come back.
func (g *Gate) Later() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.later()
}

// later hands out turns one behind the other. Beyond ReturnLatest it begins anew: nobody knows so far ahead.
func (g *Gate) later() time.Duration {
	now := g.now()
	perSecond, soonest := g.cfg.MinRate, g.cfg.ReturnSoonest
	if g.outlook != nil {
		taken, after := g.outlook()
		perSecond, soonest = max(perSecond, taken), min(max(soonest, after), g.cfg.ReturnLatest)
	}
	next := g.returning.Add(time.Duration(float64(time.Second) / perSecond))
	if next.Before(now.Add(soonest)) || next.After(now.Add(g.cfg.ReturnLatest)) {
		next = now.Add(soonest)
	}
	g.returning = next
	return next.Sub(now)
}

// State is how many are opening and waiting, and how long the first of those has waited.
func (g *Gate) State() (opening, waiting int, age time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if first := g.waiting.Front(); first != nil {
		age = g.now().Sub(first.Value.(*Turn).since) //nolint:forcetypeassert // as above
	}
	return g.opening, g.waiting.Len(), age
}
