package persistencetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

// world is a store and the model of all that is in it.
type world struct {
	store   Store
	streams map[persistence.StreamKey]*modelStream
	lanes   map[int16]*modelLane
	// parts are the partitions there are, ascending; events go to the last one.
	parts       []int32
	checkpoints map[checkpointName]*modelCheckpoint
}

type modelStream struct {
	key         persistence.StreamKey
	lane        int16
	epoch       uint64
	owner       string
	incarnation uint64
	events      []stored
	// maybe are the events of an append whose outcome is unknown.
	maybe []stored
	// snaps are the newest two, newest first.
	snaps []uint64
	trim  uint64
	// fed is the seq up to which the feed has shown the events.
	fed uint64
}

// stored is what the model remembers of an event.
type stored struct {
	id    [16]byte
	epoch uint64
	part  int32
}

func (s *modelStream) head() uint64 { return uint64(len(s.events)) }

func (s *modelStream) snap() uint64 {
	if len(s.snaps) == 0 {
		return 0
	}
	return s.snaps[0]
}

// modelLane is a lane as the feed has shown it.
type modelLane struct {
	// next is where to go on.
	next, trim uint64
	events     []placed
}

// placed is an event of a lane.
type placed struct {
	pos  uint64
	key  persistence.StreamKey
	seq  uint64
	part int32
}

// after returns the events above pos.
func (l *modelLane) after(pos uint64) []placed {
	for i, e := range l.events {
		if e.pos > pos {
			return l.events[i:]
		}
	}
	return nil
}

// newest returns the last position of a partition's events, 0 when there are none.
func (l *modelLane) newest(part int32) (pos uint64) {
	for _, e := range l.events {
		if e.part == part {
			pos = e.pos
		}
	}
	return pos
}

type checkpointName struct {
	name string
	lane int16
}

// modelCheckpoint outlives its deletion, for its epoch.
type modelCheckpoint struct {
	exists     bool
	pos, epoch uint64
	owner      string
}

// tailName is a consumer that is never deleted, so that nothing which is trimmed goes before it has passed.
const tailName = "tail"

func newWorld(t testing.TB, open opener, now func() time.Time) *world {
	w := &world{
		store: open(t, now), streams: map[persistence.StreamKey]*modelStream{}, lanes: map[int16]*modelLane{},
		parts: []int32{0}, checkpoints: map[checkpointName]*modelCheckpoint{},
	}
	lanes, err := w.store.Backend.Lanes(context.Background())
	require.NoError(t, err)
	for _, l := range lanes {
		w.lanes[l.Lane] = &modelLane{}
		c, err := w.store.Backend.ClaimCheckpoint(context.Background(), tailName, l.Lane, "node-a")
		require.NoError(t, err)
		w.checkpoints[checkpointName{tailName, l.Lane}] = &modelCheckpoint{exists: true, epoch: c.Epoch, owner: c.Owner}
	}
	return w
}

func (w *world) current() int32 { return w.parts[len(w.parts)-1] }

// blockers is what a *BlockedError has to tell of a partition; nil when nobody needs it.
func (w *world) blockers(part int32) *persistence.BlockedError {
	streams, names := map[persistence.StreamKey]struct{}{}, map[string]struct{}{}
	for key, s := range w.streams {
		for _, e := range s.events[s.snap():] {
			if e.part == part {
				streams[key] = struct{}{}
			}
		}
	}
	for at, c := range w.checkpoints {
		if c.exists && c.pos < w.lanes[at.lane].newest(part) {
			names[at.name] = struct{}{}
		}
	}
	if len(streams)+len(names) == 0 {
		return nil
	}
	keys := sortedKeys(streams) // nil when there are none
	return &persistence.BlockedError{
		Part: part, Streams: int64(len(keys)), Keys: keys[:min(len(keys), persistence.MaxBlockedKeys)], Checkpoints: sortedKeys(names),
	}
}

// drop takes the oldest partition out of the model.
func (w *world) drop() {
	part := w.parts[0]
	w.parts = w.parts[1:]
	for _, s := range w.streams {
		for i, e := range s.events {
			if e.part == part {
				s.trim = max(s.trim, uint64(i+1))
			}
		}
	}
	for _, l := range w.lanes {
		if newest := l.newest(part); newest > 0 {
			l.trim = newest
			l.events = l.after(newest)
		}
	}
}
