package core

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"

	"github.com/parley-rt/parley/libs/persistence"
)

// room takes firings as rooms do: any number above the last one of a schedule, and none twice.
type room struct {
	last map[string]uint64
	got  map[string][]Started
}

func (r *room) take(f Started) {
	if f.Number > r.last[f.ID] {
		r.last[f.ID] = f.Number
		r.got[f.ID] = append(r.got[f.ID], f)
	}
}

// world is a book whose batches may get lost and whose holder may change at any moment.
type world struct {
	*book
	events []persistence.Event
	snap   persistence.Snapshot
	room   room
	// sending are firings that were handed out and may reach the room at any time, several times.
	sending []Started
	ended   map[string]uint64
}

func (w *world) batch(t *rapid.T, commands ...Command) []Reply {
	d := w.state.Draft()
	var events []persistence.Event
	var replies []Reply
	for _, c := range commands {
		es, reply := d.Decide(c, w.now)
		events, replies = append(events, es...), append(replies, reply)
	}
	if rapid.IntRange(0, 5).Draw(t, "lost") == 0 {
		return nil
	}
	w.commit(events)
	w.events = append(w.events, events...)
	return replies
}

// takeover is another holder, who knows what is stored and nothing else.
func (w *world) takeover(t require.TestingT) {
	s := NewState(w.zones)
	from := uint64(0)
	if w.snap.Seq > 0 {
		var err error
		s, err = RestoreState(w.snap, w.zones)
		require.NoError(t, err)
		from = w.snap.Seq
	}
	for _, e := range w.events[from:] {
		require.NoError(t, s.Apply(e))
	}
	require.Equal(t, dump(t, w.state), dump(t, s), "what is stored is all there is")
	w.state = s
	w.sending = append(w.sending, s.Open()...) // those of the one before are still on their way, too
}

func dump(t require.TestingT, s *State) string {
	var stored journalv1.ScheduleShardSnapshot
	snap, err := s.Snapshot()
	require.NoError(t, err)
	require.NoError(t, proto.Unmarshal(snap.Payload, &stored))
	for i, e := range s.queue {
		require.Equal(t, i, e.index)
		require.Equal(t, wake(e.record), e.wake)
		if i > 0 {
			require.LessOrEqual(t, s.queue[(i-1)/2].wake, e.wake)
		}
	}
	return stored.String() + fmt.Sprint(len(s.queue), s.weight)
}

// S6, from the book's side: whatever is lost, whoever takes over, however late and often a firing reaches the room, every firing
// that was ended as stored is in the room once, none that was not started is, and what was due is either started or counted
// as missed, once.
func TestBookModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := &world{book: newBook(t), room: room{last: map[string]uint64{}, got: map[string][]Started{}}, ended: map[string]uint64{}}
		ids := []string{"a", "b", "c", "d"}
		id := rapid.SampledFrom(ids)
		spec := func() *journalv1.ScheduleSpec {
			s := cronSpec(rapid.SampledFrom([]string{"* * * * *", "*/2 * * * *", "@every 7s", "@every 1m30s", "@hourly"}).Draw(t, "cron"))
			if rapid.IntRange(0, 3).Draw(t, "single") == 0 {
				s = atSpec(w.now.Sub(start) + time.Duration(rapid.IntRange(-60, 600).Draw(t, "at"))*time.Second)
			} else if rapid.Bool().Draw(t, "bounded") {
				s.MaxFirings = uint64(rapid.IntRange(1, 5).Draw(t, "max"))
			}
			s.Content = fmt.Sprint("content ", rapid.IntRange(0, 9).Draw(t, "content"))
			s.Misfire = journalv1.Misfire(rapid.IntRange(0, 3).Draw(t, "misfire"))
			s.Jitter = durationpb.New(time.Duration(rapid.IntRange(0, 3).Draw(t, "jitter")) * time.Second)
			require.NoError(t, Check(s, w.zones))
			return s
		}
		for range rapid.IntRange(5, 60).Draw(t, "steps") {
			w.now = w.now.Add(time.Duration(rapid.IntRange(0, 90_000).Draw(t, "pause")) * time.Millisecond)
			switch rapid.IntRange(0, 11).Draw(t, "what") {
			case 0, 1:
				w.batch(t, &Create{ID: id.Draw(t, "id"), Spec: spec(), Request: []byte("r")})
			case 2:
				w.batch(t, &Update{ID: id.Draw(t, "id"), Spec: spec()}, &Begin{Limit: 2})
			case 3:
				w.batch(t, rapid.SampledFrom([]Command{&Pause{ID: "a"}, &Resume{ID: "a"}, &Pause{ID: "b"}, &Resume{ID: "b"}, &Delete{ID: "d"}}).Draw(t, "command"))
			case 4:
				w.batch(t, &Trigger{ID: id.Draw(t, "id")})
			case 5:
				who := id.Draw(t, "id")
				if r := w.state.Get(who); r != nil && len(r.Failed) > 0 {
					w.batch(t, &Replay{ID: who, Number: r.Failed[0].Number}, &Begin{Limit: 9})
				}
			case 6:
				w.takeover(t)
			case 7:
				if snap, err := w.state.Snapshot(); w.seq > 0 {
					require.NoError(t, err)
					snap.Seq = w.seq
					w.snap = snap
				}
			case 8, 9:
				for _, r := range w.batch(t, &Begin{Limit: rapid.IntRange(1, 9).Draw(t, "limit")}) {
					require.Zero(t, r.Stuck)
					w.sending = append(w.sending, r.Started...)
				}
			default:
				if len(w.sending) == 0 {
					continue
				}
				f := rapid.SampledFrom(w.sending).Draw(t, "sent")
				e := &journalv1.FiringEnded{Number: f.Number, Seq: 1}
				switch {
				case rapid.IntRange(0, 4).Draw(t, "fails") == 0:
					e.Seq, e.Reason = 0, "refused"
				default:
					w.room.take(f)
				}
				replies := w.batch(t, &End{ID: f.ID, Ended: e})
				if len(replies) == 1 && replies[0].Record != nil && e.Reason == "" {
					w.ended[fmt.Sprint(f.ID, f.Number)]++
					require.True(t, slices.ContainsFunc(w.room.got[f.ID], func(g Started) bool { return g.Number == f.Number }), "%v", f)
				}
			}
		}
		w.takeover(t)
		for key, n := range w.ended {
			require.EqualValues(t, 1, n, key)
		}
		checkStarts(t, w)
	})
}

// checkStarts reads the stream as plainly as can be: numbers are dense, one firing is open at a time, what reached the room was
// started as it arrived there.
func checkStarts(t require.TestingT, w *world) {
	open := map[string]uint64{}
	changed := map[string]bool{}
	number := map[string]uint64{}
	dues := map[string][]time.Time{}
	for _, stored := range w.events {
		e := new(journalv1.ScheduleEvent)
		require.NoError(t, proto.Unmarshal(stored.Payload, e))
		switch k := e.Kind.(type) {
		case *journalv1.ScheduleEvent_FiringStarted:
			require.Zero(t, open[e.ScheduleId])
			require.Equal(t, number[e.ScheduleId]+1, k.FiringStarted.Number)
			number[e.ScheduleId]++
			open[e.ScheduleId] = k.FiringStarted.Number
			dues[e.ScheduleId] = append(dues[e.ScheduleId], k.FiringStarted.Due.AsTime())
			require.False(t, e.At.AsTime().Before(k.FiringStarted.Due.AsTime()), "not before it is due")
		case *journalv1.ScheduleEvent_FiringEnded:
			require.Equal(t, open[e.ScheduleId], k.FiringEnded.Number)
			open[e.ScheduleId] = 0
		case *journalv1.ScheduleEvent_Updated, *journalv1.ScheduleEvent_Resumed:
			changed[e.ScheduleId] = true
		case *journalv1.ScheduleEvent_Deleted:
			open[e.ScheduleId] = 0
		}
	}
	// Of a schedule that was left alone, each time that has come was started or left out, once.
	w.state.All(func(r *journalv1.ScheduleRecord) bool {
		if changed[r.ScheduleId] || r.NextDue == 0 || r.Spec.GetAt() != nil {
			return true
		}
		timing, err := timingOf(r.Spec, r.CreatedAt.AsTime(), w.zones)
		require.NoError(t, err)
		passed := uint64(0)
		for due := timing.first(r.CreatedAt.AsTime()); due != r.NextDue; due = timing.after(time.Unix(due, 0)) {
			require.NotZero(t, due)
			passed++
		}
		require.Equal(t, passed, r.Fired+r.Missed, "%v", r)
		return true
	})
	for id, got := range w.room.got {
		for _, f := range got {
			require.LessOrEqual(t, f.Number, number[id])
			require.Equal(t, dues[id][f.Number-1], f.Due)
		}
	}
}

// Whatever is stored, it is understood or refused, and what is understood survives a snapshot.
func FuzzApply(f *testing.F) {
	b := newBook(f)
	b.create("a", cronSpec("* * * * *"))
	began := b.begin(time.Minute)
	for _, e := range []*journalv1.ScheduleEvent{
		{ScheduleId: "a", Kind: &journalv1.ScheduleEvent_Created{Created: &journalv1.ScheduleCreated{Spec: cronSpec("* * * * *"), NextDue: 60}}},
		{ScheduleId: "a", Kind: &journalv1.ScheduleEvent_FiringEnded{FiringEnded: &journalv1.FiringEnded{Number: began[0].Number}}},
		{ScheduleId: "a", Kind: &journalv1.ScheduleEvent_FiringStarted{FiringStarted: &journalv1.FiringStarted{Number: 2}}},
		{ScheduleId: "a", Kind: &journalv1.ScheduleEvent_FiringAsked{FiringAsked: &journalv1.FiringAsked{Replays: 1}}},
		{ScheduleId: "a", Kind: &journalv1.ScheduleEvent_Deleted{}}, {ScheduleId: "a", Kind: &journalv1.ScheduleEvent_Updated{}},
		{ScheduleId: "a", Kind: &journalv1.ScheduleEvent_Forgotten{}}, {},
	} {
		payload, err := proto.Marshal(e)
		require.NoError(f, err)
		f.Add(payload, payload)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		b := newBook(t)
		b.create("a", cronSpec("* * * * *"))
		b.begin(time.Minute)
		for _, payload := range [][]byte{first, second} {
			if err := b.state.Apply(persistence.Event{Manifest: ManifestEvent, Codec: persistence.CodecProto, Payload: payload}); err != nil {
				require.ErrorIs(t, err, ErrEvent)
				return
			}
		}
		snap, err := b.state.Snapshot()
		require.NoError(t, err)
		again, err := RestoreState(snap, b.zones)
		require.NoError(t, err)
		require.Equal(t, dump(t, b.state), dump(t, again))
		b.state.Draft().Decide(&Begin{Limit: 10}, b.now.Add(time.Hour))
	})
}

// BenchmarkBegin tells what starting and ending a firing costs, each end in a batch of its own.
func BenchmarkBegin(b *testing.B) {
	book := newBook(b)
	for n := range 1500 {
		book.create(fmt.Sprint("s", n), cronSpec("* * * * *"))
	}
	for b.Loop() {
		book.now = book.now.Add(time.Minute)
		for began := book.do(&Begin{Limit: 400}); len(began.Started) > 0; began = book.do(&Begin{Limit: 400}) {
			for _, f := range began.Started {
				book.end(f)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1500, "µs/firing")
}
