package ratelimit

import (
	"hash/maphash"
	"slices"
	"sync"
	"time"
)

// margin is added to what those are told who are refused by a share, and so is how long the store took to answer: it may have looked
// at its clock at any moment of that, and the next view may differ by as much.
const margin = 20 * time.Millisecond

// shards of a table: so many decisions can be made at once.
const shards = 16

// Shared is a scope whose keys several nodes count.
type Shared struct {
	l     *Limiter
	scope string
	limit Limit
	// reports: what is used is told to the store. A Direct scope asks it instead.
	reports bool
	most    [2]time.Duration
	seed    maphash.Seed
	shards  [shards]shard
}

// shard is a part of the keys.
type shard struct {
	mu    sync.Mutex
	keys  map[string]*entry
	dirty []*entry // used since their last report
	count decisions
}

// entry is one key. Its shard's mutex guards it.
type entry struct {
	key  string
	uses [2]use
	// viewed is when the view was asked for that the uses stand on; 0: never. share is of the limit, good for Active from then.
	viewed int64
	share  float64
	// unsure is how long the store took to give that view, ns.
	unsure int64
	// dirty: the entry is in the shard's list. flying: a report of it is under way.
	dirty, flying bool
}

// use is one of a key's two buckets.
type use struct {
	bucket
	pending, flying int64 // used and not reported, and reported but not confirmed; as the time that it takes to be regained
}

// decisions are counted by outcome and by what decided.
type decisions struct {
	leased, local [2]uint64 // refused, allowed
	unlimited     uint64
}

func (l *Limiter) newShared(scope string, limit Limit, reports bool) *Shared {
	s := &Shared{l: l, scope: scope, limit: limit, reports: reports, seed: maphash.MakeSeed()}
	for i, r := range limit.rates() {
		s.most[i] = time.Duration(r.debt())
	}
	for i := range s.shards {
		s.shards[i].keys = map[string]*entry{}
	}
	return s
}

// Take takes c of key and says ok, or takes nothing and says after how long it will pass if nothing else is taken until then. It
// waits for nobody.
func (s *Shared) Take(now time.Time, key string, c Cost) (after time.Duration, ok bool) {
	if s.limit.Off() {
		return 0, true
	}
	sh := &s.shards[maphash.String(s.seed, key)%shards]
	sh.mu.Lock()
	e := sh.keys[key]
	if e == nil {
		if e = s.add(sh, now.UnixNano(), key); e == nil {
			sh.count.unlimited++
			sh.mu.Unlock()
			return 0, true
		}
	}
	after, ok, urgent := s.decide(sh, e, now.UnixNano(), c)
	sh.mu.Unlock()
	if urgent {
		s.l.poke(true)
	}
	return after, ok
}

// Wait says after how long c of key would pass; 0: now. It counts nothing.
func (s *Shared) Wait(now time.Time, key string, c Cost) (after time.Duration) {
	sh := &s.shards[maphash.String(s.seed, key)%shards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e := sh.keys[key]; e != nil {
		share, _ := s.share(e, now.UnixNano())
		after = s.wait(e, now.UnixNano(), c, share)
	}
	return after
}

func (s *Shared) wait(e *entry, now int64, c Cost, share float64) (after time.Duration) {
	rates, amounts := s.limit.rates(), c.amounts()
	for i := range e.uses {
		after = max(after, time.Duration(e.uses[i].wait(now, rates[i], amounts[i], share)))
	}
	if after > 0 && s.l.store != nil {
		after += margin + time.Duration(e.unsure)
	}
	return after
}

// Off says that the scope limits nothing.
func (s *Shared) Off() bool { return s.limit.Off() }

// add makes an entry; nil: there is no place.
func (s *Shared) add(sh *shard, now int64, key string) *entry {
	if len(sh.keys) >= s.l.cfg.Keys/shards {
		// Some of those that a walk happens to meet first: the full one follows in the background.
		looked := 0
		for k, e := range sh.keys {
			if e.idle(now) {
				delete(sh.keys, k)
				break
			}
			if looked++; looked == 8 {
				return nil
			}
		}
	}
	if len(sh.keys) == 0 {
		s.l.poke(false) // somebody has to forget it again
	}
	e := &entry{key: key}
	sh.keys[key] = e
	return e
}

// leased says that the entry's share holds.
func (e *entry) leased(now int64) bool {
	return e.viewed != 0 && now >= e.viewed && now-e.viewed <= int64(Active)
}

// idle says that nothing is lost when the entry is.
func (e *entry) idle(now int64) bool {
	return !e.dirty && !e.flying && e.regained(now) && !e.leased(now)
}

// regained says that nothing that was used is missing.
func (e *entry) regained(now int64) bool { return e.uses[0].tat <= now && e.uses[1].tat <= now }

// decide is Take with the shard locked. urgent: the store should be asked about the key soon.
func (s *Shared) decide(sh *shard, e *entry, now int64, c Cost) (after time.Duration, ok, urgent bool) {
	share, leased := s.share(e, now)
	count := &sh.count.local
	if leased {
		count = &sh.count.leased
	}
	if after = s.wait(e, now, c, share); after > 0 {
		count[0]++
		return after, false, s.report(sh, e, leased)
	}
	rates, amounts := s.limit.rates(), c.amounts()
	for i := range e.uses {
		if !rates[i].Off() {
			e.uses[i].take(now, rates[i], amounts[i], share)
			e.uses[i].pending += rates[i].cost(amounts[i])
		}
	}
	count[1]++
	return 0, true, s.report(sh, e, leased)
}

// share is this node's part of the limit. leased: the store has said so and it still holds.
func (s *Shared) share(e *entry, now int64) (share float64, leased bool) {
	switch {
	case s.l.store == nil:
		return 1, false
	case e.leased(now):
		return e.share, true
	default:
		return s.l.part(), false
	}
}

// report notes that the store is to hear of the entry. soon: it is the first use in a while, and until the store has answered,
// only a part of the limit is this node's.
func (s *Shared) report(sh *shard, e *entry, leased bool) (soon bool) {
	if !s.reports || s.l.store == nil || e.dirty {
		return false
	}
	e.dirty = true
	sh.dirty = append(sh.dirty, e)
	if leased {
		s.l.poke(false)
	}
	return !leased
}

// collect appends what is to be reported, at most so many.
func (s *Shared) collect(now int64, list []flight, most int) []flight {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		n := min(len(sh.dirty), most-len(list))
		for _, e := range sh.dirty[:n] {
			list = append(list, s.depart(sh, e, now))
		}
		if sh.dirty = sh.dirty[n:]; len(sh.dirty) == 0 {
			sh.dirty = nil
		}
		sh.mu.Unlock()
	}
	return list
}

// flight is a report under way.
type flight struct {
	s      *Shared
	sh     *shard
	e      *entry
	report Report
}

// depart makes the report of an entry. What this node has regained by its share of the rate since it was used is not reported: the
// shares of all are one whole, and the store would regain it in the same time.
func (s *Shared) depart(sh *shard, e *entry, now int64) flight {
	share, _ := s.share(e, now)
	e.dirty, e.flying = false, true
	f := flight{s: s, sh: sh, e: e, report: Report{Key: s.scope + ":" + e.key, Most: s.most}}
	for i := range e.uses {
		u := &e.uses[i]
		u.flying = min(u.pending, int64(float64(max(u.tat-now, 0))*share))
		u.pending = 0
		f.report.Used[i] = time.Duration(u.flying)
	}
	return f
}

// landed takes the store's view of an entry, which was asked for at sent and given at now.
func (f flight) landed(sent, now int64, v View) {
	f.sh.mu.Lock()
	defer f.sh.mu.Unlock()
	e := f.e
	e.flying, e.viewed, e.share, e.unsure = false, sent, 1/float64(max(v.Nodes, 1)), max(0, now-sent)
	for i := range e.uses {
		u := &e.uses[i]
		u.flying = 0
		u.tat = sent + int64(v.Ahead[i]) + int64(float64(u.pending)/e.share)
	}
}

// lost takes back a report that may not have arrived.
func (f flight) lost() {
	f.sh.mu.Lock()
	defer f.sh.mu.Unlock()
	e := f.e
	e.flying = false
	for i := range e.uses {
		e.uses[i].pending += e.uses[i].flying
		e.uses[i].flying = 0
	}
	if !e.dirty {
		e.dirty = true
		f.sh.dirty = append(f.sh.dirty, e)
	}
}

// sweep forgets the idle keys of a shard, and says how many keys there are in all.
func (s *Shared) sweep(now int64, shard int) (keys int) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		if i == shard {
			// With the store away, reports wait. One that has become empty need not.
			sh.dirty = slices.DeleteFunc(sh.dirty, func(e *entry) bool {
				e.dirty = !e.regained(now)
				return !e.dirty
			})
			for k, e := range sh.keys {
				if e.idle(now) {
					delete(sh.keys, k)
				}
			}
		}
		keys += len(sh.keys)
		sh.mu.Unlock()
	}
	return keys
}

// counted sums up what was decided.
func (s *Shared) counted() (sum decisions, keys int) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for j := range 2 {
			sum.leased[j] += sh.count.leased[j]
			sum.local[j] += sh.count.local[j]
		}
		sum.unlimited += sh.count.unlimited
		keys += len(sh.keys)
		sh.mu.Unlock()
	}
	return sum, keys
}
