package roomhost

import (
	"time"

	"github.com/parley-rt/parley/services/rooms/internal/room"
)

// warmEntry is a room that is read ahead, or was.
type warmEntry struct {
	roomID string
	// from and number are who asked last.
	from   string
	number uint64
	weight int64
	since  time.Time
	warm   *room.Warm // nil while it waits or is read
}

// warmStore keeps what was read ahead, bounded by number and by what the owners say the rooms weigh. What nobody hands over
// in time is forgotten.
type warmStore struct {
	maxRooms int
	maxBytes int64
	keep     time.Duration

	rooms   map[string]*warmEntry
	waiting []*warmEntry
	bytes   int64
}

func newWarmStore(maxRooms int, maxBytes int64, keep time.Duration) *warmStore {
	return &warmStore{maxRooms: maxRooms, maxBytes: maxBytes, keep: keep, rooms: make(map[string]*warmEntry)}
}

// admit returns the entry of a room, made if there is place for it.
func (w *warmStore) admit(roomID string, weight int64, now time.Time) (*warmEntry, bool) {
	if e, ok := w.rooms[roomID]; ok {
		return e, true
	}
	if len(w.rooms) >= w.maxRooms || w.bytes+weight > w.maxBytes {
		return nil, false
	}
	e := &warmEntry{roomID: roomID, weight: weight, since: now}
	w.rooms[roomID] = e
	w.waiting = append(w.waiting, e)
	w.bytes += weight
	return e, true
}

// next returns the entry that waits longest to be read; nil: none.
func (w *warmStore) next() *warmEntry {
	for len(w.waiting) > 0 {
		e := w.waiting[0]
		w.waiting = w.waiting[1:]
		if w.rooms[e.roomID] == e {
			return e
		}
	}
	w.waiting = nil
	return nil
}

// ready takes what was read for an entry that is still wanted.
func (w *warmStore) ready(e *warmEntry, warm *room.Warm, now time.Time) {
	if w.rooms[e.roomID] == e {
		e.warm, e.since = warm, now
	}
}

// take removes a room and returns what was read of it; nil: nothing.
func (w *warmStore) take(roomID string) *room.Warm {
	e, ok := w.rooms[roomID]
	if !ok {
		return nil
	}
	w.drop(e)
	return e.warm
}

func (w *warmStore) drop(e *warmEntry) {
	if w.rooms[e.roomID] == e {
		delete(w.rooms, e.roomID)
		w.bytes -= e.weight
	}
}

// expire forgets what was kept for too long. What is still being read is given as long again.
func (w *warmStore) expire(now time.Time) {
	for _, e := range w.rooms {
		if age := now.Sub(e.since); e.warm != nil && age >= w.keep || age >= 2*w.keep {
			w.drop(e)
		}
	}
}
