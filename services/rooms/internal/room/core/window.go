package core

import "time"

// Limits of the dedupe window.
const (
	// WindowAge is how long an id is certainly remembered.
	WindowAge = 2 * time.Minute
	// WindowFloor is the age below which an id is never forgotten to make room for others.
	WindowFloor = 30 * time.Second
	// WindowMax is how many ids a room remembers at most.
	WindowMax = 1 << 20

	// Recovery remembers this many of the newest ids whatever their times say, or those of that many bytes of events: a
	// clock that was set forward between two events makes ids of the last seconds look old.
	SureIDs   = 1024
	SureBytes = 4 << 20

	segmentAge = 30 * time.Second
)

// Window remembers the ids of a room's recent messages and the seq each got. It is a queue of segments, each holding the
// ids of up to 30 s; a segment is forgotten as a whole once its youngest id is older than WindowAge. So forgetting costs
// nothing per id, memory follows the publish rate and not the number of rooms, and an id is remembered for 2 to 2½
// minutes.
//
// Times are the caller's; only their distances matter. A time before the newest one is taken for the newest: ids then
// live longer, never shorter.
type Window struct {
	// oldest first
	segments []*segment
	count    int
	max      int
}

type segment struct {
	first, last time.Time
	lowest      uint64 // no id in it has a lower seq
	ids         map[[16]byte]uint64
}

// NewWindow returns an empty window for at most limit ids; 0 means WindowMax.
func NewWindow(limit int) *Window {
	if limit <= 0 {
		limit = WindowMax
	}
	return &Window{max: limit}
}

// Len returns the number of ids remembered.
func (w *Window) Len() int { return w.count }

// Find returns the seq of an id.
func (w *Window) Find(id [16]byte) (uint64, bool) {
	for i := len(w.segments) - 1; i >= 0; i-- {
		if seq, ok := w.segments[i].ids[id]; ok {
			return seq, true
		}
	}
	return 0, false
}

// Lowest returns a seq that no remembered id is below; ok is false when none is remembered.
func (w *Window) Lowest() (seq uint64, ok bool) {
	for _, s := range w.segments {
		if !ok || s.lowest < seq {
			seq, ok = s.lowest, true
		}
	}
	return seq, ok
}

// Free returns how many ids may be added at now without forgetting one that is younger than WindowFloor.
func (w *Window) Free(now time.Time) int {
	free := w.max - w.count
	for _, s := range w.segments {
		if now.Sub(s.last) < WindowFloor {
			break
		}
		free += len(s.ids)
	}
	return free
}

// Add remembers an id, forgets what is too old by at, and makes room by forgetting the oldest segment when it is full.
// An id that is already there keeps its first seq.
func (w *Window) Add(id [16]byte, seq uint64, at time.Time) {
	if _, ok := w.Find(id); ok {
		return
	}
	w.Expire(at)
	for w.count >= w.max {
		w.dropOldest()
	}
	s := w.newest()
	// A segment also ends when it holds a sixteenth of everything: a full window then makes room in small steps.
	if s == nil || at.Sub(s.first) >= segmentAge || len(s.ids) >= max(w.max/16, 1) {
		s = &segment{first: at, last: at, lowest: seq, ids: make(map[[16]byte]uint64)}
		w.segments = append(w.segments, s)
	}
	s.ids[id] = seq
	s.lowest = min(s.lowest, seq)
	if at.After(s.last) {
		s.last = at
	}
	w.count++
}

// AddOlder remembers an id from before all others, as recovery finds them. It reports false, and does nothing, when the
// id is too old by the newest id's time or the window is full: then no older one is worth adding either.
func (w *Window) AddOlder(id [16]byte, seq uint64, at time.Time) bool {
	newest := w.newest()
	if newest == nil {
		w.Add(id, seq, at)
		return true
	}
	if newest.last.Sub(at) > WindowAge || w.count >= w.max {
		return false
	}
	if _, ok := w.Find(id); ok {
		return true
	}
	oldest := w.segments[0]
	if at.After(oldest.first) {
		at = oldest.first
	}
	if oldest.last.Sub(at) >= segmentAge || len(oldest.ids) >= max(w.max/16, 1) {
		oldest = &segment{first: at, last: at, lowest: seq, ids: make(map[[16]byte]uint64)}
		w.segments = append([]*segment{oldest}, w.segments...)
	}
	oldest.first = at
	oldest.ids[id] = seq
	oldest.lowest = min(oldest.lowest, seq)
	w.count++
	return true
}

// Expire forgets the segments whose youngest id is older than WindowAge at now.
func (w *Window) Expire(now time.Time) {
	for len(w.segments) > 0 && now.Sub(w.segments[0].last) > WindowAge {
		w.dropOldest()
	}
}

// Rebase moves all times so that the newest id counts as just added at now. Recovery does this because it reads times of
// the journal's clock: the two clocks are then never compared, and ids only live longer for it.
func (w *Window) Rebase(now time.Time) {
	newest := w.newest()
	if newest == nil {
		return
	}
	// Built from now, the times also take on its monotonic reading: a step of the wall clock ages nothing.
	last := newest.last
	for _, s := range w.segments {
		s.first, s.last = now.Add(s.first.Sub(last)), now.Add(s.last.Sub(last))
	}
}

// Renew remembers an id as if it had been added at now, which must not be before the newest one's time.
func (w *Window) Renew(id [16]byte, seq uint64, now time.Time) {
	for _, s := range w.segments {
		if _, ok := s.ids[id]; ok {
			delete(s.ids, id)
			w.count--
			break
		}
	}
	w.Add(id, seq, now)
}

func (w *Window) newest() *segment {
	if len(w.segments) == 0 {
		return nil
	}
	return w.segments[len(w.segments)-1]
}

func (w *Window) dropOldest() {
	w.count -= len(w.segments[0].ids)
	w.segments[0] = nil
	w.segments = w.segments[1:]
	if len(w.segments) == 0 {
		w.segments = nil
	}
}
