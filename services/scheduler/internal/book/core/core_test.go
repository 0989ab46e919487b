package core

import (
	"fmt"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"

	"github.com/parley-rt/parley/libs/persistence"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// book is a stream with a clock, whose batches hold one command each.
type book struct {
	t     require.TestingT
	zones *Zones
	state *State
	now   time.Time
	seq   uint64
}

func newBook(t require.TestingT) *book {
	zones := NewZones()
	return &book{t: t, zones: zones, state: NewState(zones), now: start}
}

func (b *book) do(c Command) Reply {
	events, reply := b.state.Draft().Decide(c, b.now)
	b.commit(events)
	return reply
}

func (b *book) commit(events []persistence.Event) {
	for i := range events {
		b.seq++
		events[i].Seq = b.seq
		require.NoError(b.t, b.state.Apply(events[i]))
	}
}

func (b *book) create(id string, spec *journalv1.ScheduleSpec) *journalv1.ScheduleRecord {
	require.NoError(b.t, Check(spec, b.zones))
	reply := b.do(&Create{ID: id, Spec: spec})
	require.NoError(b.t, reply.Err)
	return reply.Record
}

// begin moves the clock and starts what is due.
func (b *book) begin(at time.Duration) []Started {
	b.now = start.Add(at)
	return b.do(&Begin{Limit: 100}).Started
}

func (b *book) end(f Started) {
	b.do(&End{ID: f.ID, Ended: &journalv1.FiringEnded{Number: f.Number, Seq: 7}})
}

// fire begins and ends what is due and returns when each was due, from the start.
func (b *book) fire(at time.Duration) []time.Duration {
	var due []time.Duration
	for {
		began := b.begin(at)
		if len(began) == 0 {
			return due
		}
		for _, f := range began {
			due = append(due, f.Due.Sub(start))
			b.end(f)
		}
	}
}

func cronSpec(expression string, edit ...func(*journalv1.ScheduleSpec)) *journalv1.ScheduleSpec {
	s := &journalv1.ScheduleSpec{RoomId: "lobby", Content: "hello", Timing: &journalv1.ScheduleSpec_Cron{Cron: expression}}
	for _, e := range edit {
		e(s)
	}
	return s
}

func atSpec(at time.Duration, edit ...func(*journalv1.ScheduleSpec)) *journalv1.ScheduleSpec {
	s := cronSpec("", edit...)
	s.Timing = &journalv1.ScheduleSpec_At{At: timestamppb.New(start.Add(at))}
	return s
}

func minutes(n ...int) []time.Duration {
	var list []time.Duration
	for _, m := range n {
		list = append(list, time.Duration(m)*time.Minute)
	}
	return list
}

func TestOnce(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	b.create("a", atSpec(90*time.Second))
	require.Empty(t, b.begin(89*time.Second))
	began := b.begin(90 * time.Second)
	require.Equal(t, []Started{{
		ID: "a", Number: 1, Room: "lobby", Sender: "schedule:a", Content: "hello",
		Due: start.Add(90 * time.Second), Since: b.now, Until: b.now.Add(DefaultRetry),
	}}, began)
	require.Empty(t, b.begin(100*time.Second), "one firing at a time")
	require.Equal(t, began, b.state.Open())
	b.end(began[0])
	b.end(began[0]) // twice is no error
	r := b.state.Get("a")
	require.NotNil(t, r.EndedAt)
	require.Len(t, r.History, 1)
	require.Equal(t, uint64(7), r.History[0].Seq)
	require.Empty(t, b.fire(EndedKept))
	require.NotNil(t, b.state.Get("a"), "its id stays taken")
	require.Equal(t, ErrExists, b.do(&Create{ID: "a", Spec: atSpec(EndedKept * 2)}).Err)
	require.Empty(t, b.fire(EndedKept+101*time.Second))
	require.Nil(t, b.state.Get("a"))
	require.Zero(t, b.state.weight)
	b.create("a", atSpec(EndedKept*2))
}

func TestWhatHasPassedIsDueAtOnce(t *testing.T) {
	t.Parallel()
	for _, policy := range []journalv1.Misfire{journalv1.Misfire_MISFIRE_SKIP, journalv1.Misfire_MISFIRE_ONCE, journalv1.Misfire_MISFIRE_ALL} {
		b := newBook(t)
		b.create("a", atSpec(-time.Hour, func(s *journalv1.ScheduleSpec) { s.Misfire = policy }))
		require.Equal(t, []time.Duration{-time.Hour}, b.fire(time.Second), policy)
	}
}

// What each policy makes of an outage from minute 1 to minute 6 and a half, and of one that ends on the minute.
func TestMisfire(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		misfire     journalv1.Misfire
		most        uint32
		half, sharp []time.Duration
	}{
		"default":        {0, 0, minutes(6), minutes(6)},
		"once":           {journalv1.Misfire_MISFIRE_ONCE, 0, minutes(6), minutes(6)},
		"skip":           {journalv1.Misfire_MISFIRE_SKIP, 0, nil, minutes(6)},
		"all":            {journalv1.Misfire_MISFIRE_ALL, 0, minutes(2, 3, 4, 5, 6), minutes(2, 3, 4, 5, 6)},
		"all, at most 2": {journalv1.Misfire_MISFIRE_ALL, 2, minutes(5, 6), minutes(4, 5, 6)}, // minute 6 sharp is not missed
	} {
		for at, want := range map[time.Duration][]time.Duration{6*time.Minute + 31*time.Second: c.half, 6 * time.Minute: c.sharp} {
			b := newBook(t)
			b.create("a", cronSpec("* * * * *", func(s *journalv1.ScheduleSpec) { s.Misfire, s.MisfireCap = c.misfire, c.most }))
			require.Equal(t, minutes(1), b.fire(time.Minute))
			require.Equal(t, want, b.fire(at), "%s %s", name, at)
			r := b.state.Get("a")
			require.EqualValues(t, 5-len(want), r.Missed, "%s %s", name, at)
			require.EqualValues(t, 1+len(want), r.Fired, "%s %s", name, at)
			require.Equal(t, minutes(7), b.fire(7*time.Minute), name)
		}
	}
}

func TestMissedForYears(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	b.create("a", cronSpec("@every 1s", func(s *journalv1.ScheduleSpec) { s.Misfire = journalv1.Misfire_MISFIRE_ALL }))
	began := time.Now()
	due := b.fire(3 * 365 * 24 * time.Hour)
	require.Less(t, time.Since(began), 30*time.Second)
	require.Len(t, due, int(Grace/time.Second))
}

func TestBounds(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(start.Add(d)) }
	for name, c := range map[string]struct {
		spec *journalv1.ScheduleSpec
		want []time.Duration
	}{
		"start, inclusive": {cronSpec("*/10 * * * *", func(s *journalv1.ScheduleSpec) { s.StartsAt = at(20 * time.Minute) }), minutes(20, 30, 40, 50, 60)},
		"end, inclusive":   {cronSpec("*/10 * * * *", func(s *journalv1.ScheduleSpec) { s.EndsAt = at(20 * time.Minute) }), minutes(10, 20)},
		"at most":          {cronSpec("*/10 * * * *", func(s *journalv1.ScheduleSpec) { s.MaxFirings = 3 }), minutes(10, 20, 30)},
		"every from start": {cronSpec("@every 25m", func(s *journalv1.ScheduleSpec) { s.StartsAt = at(5 * time.Minute) }), minutes(5, 30, 55)},
		"every":            {cronSpec("@every 25m"), minutes(25, 50)},
		"every to the end": {cronSpec("@every 25m", func(s *journalv1.ScheduleSpec) { s.EndsAt = at(49 * time.Minute) }), minutes(25)},
	} {
		b := newBook(t)
		b.create("a", c.spec)
		var got []time.Duration
		for m := range 61 {
			got = append(got, b.fire(time.Duration(m)*time.Minute)...)
		}
		require.Equal(t, c.want, got, name)
		bounded := c.spec.EndsAt != nil || c.spec.MaxFirings > 0
		require.Equal(t, bounded, b.state.Get("a").EndedAt != nil, name)
	}
}

func TestJitter(t *testing.T) {
	t.Parallel()
	spec := cronSpec("0 * * * *", func(s *journalv1.ScheduleSpec) { s.Jitter = durationpb.New(10 * time.Minute) })
	seen := map[time.Duration]bool{}
	for n := range 100 {
		id := fmt.Sprint("s", n)
		j := jitter(id, spec, start.Unix())
		require.Equal(t, j, jitter(id, spec, start.Unix()), "the same whoever asks")
		require.LessOrEqual(t, j, 10*time.Minute)
		seen[j/time.Minute] = true
	}
	require.Greater(t, len(seen), 8, "spread")
	b := newBook(t)
	b.create("a", spec)
	put := jitter("a", spec, start.Add(time.Hour).Unix())
	require.Empty(t, b.begin(time.Hour+put-time.Millisecond))
	began := b.begin(time.Hour + put)
	require.Len(t, began, 1)
	require.Equal(t, start.Add(time.Hour), began[0].Due)
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	b.create("cron", cronSpec("* * * * *"))
	b.create("once", atSpec(2*time.Minute))
	for _, id := range []string{"cron", "once", "cron"} {
		require.True(t, b.do(&Pause{ID: id}).Record.Paused)
	}
	require.Empty(t, b.fire(5*time.Minute+20*time.Second))
	require.NoError(t, b.do(&Trigger{ID: "cron"}).Err)
	require.Len(t, b.fire(5*time.Minute+20*time.Second), 1, "who asks gets it all the same")
	for _, id := range []string{"cron", "once", "cron"} {
		require.False(t, b.do(&Resume{ID: id}).Record.Paused)
	}
	require.Equal(t, minutes(2), b.fire(5*time.Minute+20*time.Second), "a single time is made up for")
	require.Equal(t, minutes(6), b.fire(6*time.Minute))
	require.Zero(t, b.state.Get("cron").Missed, "what a pause left out was not missed")
	require.Equal(t, ErrEnded, b.do(&Pause{ID: "once"}).Err)
}

// What is being sent stays as it was, whatever is changed meanwhile: the room may have it already.
func TestUpdateWhileOpen(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	b.create("a", cronSpec("* * * * *"))
	began := b.begin(time.Minute)
	require.Len(t, began, 1)
	for _, content := range []string{"second", "third"} {
		reply := b.do(&Update{ID: "a", Spec: cronSpec("*/2 * * * *", func(s *journalv1.ScheduleSpec) { s.Content, s.RoomId = content, "other" })})
		require.NoError(t, reply.Err)
	}
	require.Equal(t, began, b.state.Open())
	b.end(began[0])
	require.Empty(t, b.begin(90*time.Second))
	began = b.begin(2 * time.Minute)
	require.Equal(t, "third", began[0].Content)
	require.Equal(t, "other", began[0].Room)
	require.EqualValues(t, 2, began[0].Number)
}

func TestUpdateOfATime(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	b.create("a", atSpec(time.Minute))
	require.Equal(t, minutes(1), b.fire(time.Minute))
	require.Equal(t, ErrEnded, b.do(&Update{ID: "a", Spec: atSpec(time.Minute, func(s *journalv1.ScheduleSpec) { s.Content = "x" })}).Err, "it was fired at that time")
	require.NoError(t, b.do(&Update{ID: "a", Spec: atSpec(3 * time.Minute)}).Err)
	require.Equal(t, minutes(3), b.fire(3*time.Minute))
	require.EqualValues(t, 2, b.state.Get("a").Number)
}

func TestFailures(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	b.create("a", cronSpec("@every 1m"))
	fail := func(at time.Duration) uint64 {
		began := b.begin(at)
		require.Len(t, began, 1)
		b.do(&End{ID: "a", Ended: &journalv1.FiringEnded{Number: began[0].Number, Code: 3, Reason: "banned"}})
		return began[0].Number
	}
	first, second := fail(time.Minute), fail(2*time.Minute)
	require.Len(t, b.state.Get("a").Failed, 2)
	require.Equal(t, ErrFailure, b.do(&Replay{ID: "a", Number: 99}).Err)
	require.NoError(t, b.do(&Replay{ID: "a", Number: first, OperationID: "op"}).Err)
	require.True(t, b.do(&Replay{ID: "a", Number: first, OperationID: "op"}).Duplicate, "asked again")
	require.Equal(t, ErrFailure, b.do(&Replay{ID: "a", Number: first}).Err)
	began := b.begin(2*time.Minute + time.Second)
	require.Len(t, began, 1)
	require.EqualValues(t, 3, began[0].Number, "a new firing")
	b.end(began[0])
	require.NoError(t, b.do(&Drop{ID: "a", Number: second}).Err)
	require.Equal(t, ErrFailure, b.do(&Drop{ID: "a", Number: second}).Err)
	require.Empty(t, b.state.Get("a").Failed)
	for m := 3; m < 20; m++ {
		fail(time.Duration(m) * time.Minute)
	}
	require.Len(t, b.state.Get("a").Failed, failuresKept)
	require.Len(t, b.state.Get("a").History, historyKept)
}

func TestTrigger(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	b.create("a", atSpec(time.Hour))
	for n := range askedKept {
		reply := b.do(&Trigger{ID: "a", OperationID: fmt.Sprint(n)})
		require.NoError(t, reply.Err)
		require.False(t, reply.Duplicate)
	}
	require.True(t, b.do(&Trigger{ID: "a", OperationID: fmt.Sprint(askedKept - 1)}).Duplicate)
	require.Equal(t, ErrAsked, b.do(&Trigger{ID: "a"}).Err)
	require.Len(t, b.fire(time.Minute), askedKept)
	require.Nil(t, b.state.Get("a").EndedAt, "its time is to come")
	require.Equal(t, minutes(60), b.fire(time.Hour))
	require.NotNil(t, b.state.Get("a").EndedAt)
	require.NoError(t, b.do(&Trigger{ID: "a"}).Err, "also when it has ended")
	require.Len(t, b.fire(time.Hour), 1)
	require.NotNil(t, b.state.Get("a").EndedAt)
}

func TestDelete(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	b.create("a", cronSpec("* * * * *"))
	began := b.begin(time.Minute)
	require.NoError(t, b.do(&Delete{ID: "a"}).Err)
	require.Empty(t, b.state.Open())
	require.NoError(t, b.do(&End{ID: "a", Ended: &journalv1.FiringEnded{Number: began[0].Number}}).Err, "it came too late")
	for _, c := range []Command{&Delete{ID: "a"}, &Pause{ID: "a"}, &Trigger{ID: "a"}, &Update{ID: "a", Spec: cronSpec("* * * * *")}, &Create{ID: "a", Spec: cronSpec("* * * * *")}} {
		require.Equal(t, ErrDeleted, b.do(c).Err, "%T", c)
	}
	require.Equal(t, ErrNotFound, b.do(&Delete{ID: "b"}).Err)
	require.Empty(t, b.fire(EndedKept+2*time.Minute))
	require.Zero(t, b.state.Len())
}

func TestCreateIsRecognised(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	create := func(request string, spec *journalv1.ScheduleSpec) Reply {
		return b.do(&Create{ID: "a", Spec: spec, Request: []byte(request)})
	}
	first := create("r1", cronSpec("* * * * *"))
	require.False(t, first.Duplicate)
	again := create("r1", cronSpec("* * * * *"))
	require.NoError(t, again.Err)
	require.True(t, again.Duplicate)
	require.Equal(t, ErrExists, create("r2", cronSpec("* * * * *")).Err)
	require.Equal(t, ErrExists, create("", cronSpec("* * * * *")).Err)
	require.EqualValues(t, 1, b.seq)
	require.Equal(t, ErrNever, b.do(&Create{ID: "b", Spec: cronSpec("* * * * *", func(s *journalv1.ScheduleSpec) { s.EndsAt = timestamppb.New(start) })}).Err)
}

func TestFullBook(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	big := cronSpec("* * * * *", func(s *journalv1.ScheduleSpec) { s.Content = strings.Repeat("x", 60<<10) })
	n := 0
	for ; ; n++ {
		if reply := b.do(&Create{ID: fmt.Sprint(n), Spec: big}); reply.Err != nil {
			require.Equal(t, ErrFull, reply.Err)
			break
		}
	}
	require.Equal(t, 14, n)
	b.create("small", cronSpec("* * * * *"))
	require.Equal(t, ErrFull, b.do(&Update{ID: "small", Spec: big}).Err)
	snap, err := b.state.Snapshot()
	require.NoError(t, err)
	require.Less(t, len(snap.Payload), persistence.MaxSnapshotBytes)
	require.NoError(t, b.do(&Update{ID: "0", Spec: cronSpec("* * * * *")}).Err)
	require.NoError(t, b.do(&Update{ID: "small", Spec: big}).Err)
}

// 100,000 schedules fit, as large as they usually are, with all the history that is kept.
func TestUsualSchedulesFit(t *testing.T) {
	t.Parallel()
	b := newBook(t)
	for n := range 100_000/64 + 150 { // no shard gets that many more than others
		b.create(fmt.Sprintf("s%032d", n), cronSpec("30 9 * * 1-5", func(s *journalv1.ScheduleSpec) {
			s.RoomId, s.TimeZone, s.Content = "team-0123456789", "America/Los_Angeles", strings.Repeat("x", 100)
		}))
	}
	for day := range 8 {
		b.fire(time.Duration(day) * 24 * time.Hour)
	}
	snap, err := b.state.Snapshot()
	require.NoError(t, err)
	require.Less(t, len(snap.Payload), persistence.MaxSnapshotBytes)
}

func TestCheck(t *testing.T) {
	t.Parallel()
	zones := NewZones()
	valid := func() *journalv1.ScheduleSpec { return cronSpec("30 9 * * 1-5") }
	require.NoError(t, Check(valid(), zones))
	for field, edits := range map[string][]func(*journalv1.ScheduleSpec){
		"room_id": {func(s *journalv1.ScheduleSpec) { s.RoomId = "" }, func(s *journalv1.ScheduleSpec) { s.RoomId = "no room" }},
		"content": {
			func(s *journalv1.ScheduleSpec) { s.Content = "" }, func(s *journalv1.ScheduleSpec) { s.Content = "\xff" },
			func(s *journalv1.ScheduleSpec) { s.Content = strings.Repeat("x", MaxContent+1) },
		},
		"sender": {func(s *journalv1.ScheduleSpec) { s.Sender = "schedule:x" }, func(s *journalv1.ScheduleSpec) { s.Sender = "\n" }},
		"timing": {func(s *journalv1.ScheduleSpec) { s.Timing = nil }},
		"cron":   {func(s *journalv1.ScheduleSpec) { s.Timing = &journalv1.ScheduleSpec_Cron{Cron: "61 * * * *"} }},
		"at": {
			func(s *journalv1.ScheduleSpec) {
				s.Timing = &journalv1.ScheduleSpec_At{At: &timestamppb.Timestamp{Nanos: -1}}
			},
			func(s *journalv1.ScheduleSpec) { s.Timing = &journalv1.ScheduleSpec_At{At: &timestamppb.Timestamp{}} },
			func(s *journalv1.ScheduleSpec) { s.Timing = &journalv1.ScheduleSpec_At{} },
		},
		"time_zone": {
			func(s *journalv1.ScheduleSpec) { s.TimeZone = "Mars/Olympus" }, func(s *journalv1.ScheduleSpec) { s.TimeZone = "Local" },
			func(s *journalv1.ScheduleSpec) { s.TimeZone = "../../etc/passwd" },
			func(s *journalv1.ScheduleSpec) { s.TimeZone, s.Timing = "UTC", atSpec(0).Timing },
		},
		"starts_at": {func(s *journalv1.ScheduleSpec) { s.StartsAt = &timestamppb.Timestamp{Seconds: 1} }},
		"ends_at": {func(s *journalv1.ScheduleSpec) {
			s.StartsAt, s.EndsAt = timestamppb.New(start), timestamppb.New(start.Add(-1))
		}},
		"max_firings": {func(s *journalv1.ScheduleSpec) { s.MaxFirings, s.Timing = 2, atSpec(0).Timing }},
		"jitter":      {func(s *journalv1.ScheduleSpec) { s.Jitter = durationpb.New(-1) }, func(s *journalv1.ScheduleSpec) { s.Jitter = durationpb.New(25 * time.Hour) }},
		"retry_for":   {func(s *journalv1.ScheduleSpec) { s.RetryFor = durationpb.New(time.Second) }, func(s *journalv1.ScheduleSpec) { s.RetryFor = durationpb.New(25 * time.Hour) }},
		"misfire":     {func(s *journalv1.ScheduleSpec) { s.Misfire = 9 }},
		"misfire_cap": {
			func(s *journalv1.ScheduleSpec) { s.MisfireCap = 1 },
			func(s *journalv1.ScheduleSpec) {
				s.Misfire, s.MisfireCap = journalv1.Misfire_MISFIRE_ALL, MaxMisfires+1
			},
		},
	} {
		for i, edit := range edits {
			s := valid()
			edit(s)
			var wrong *FieldError
			require.ErrorAs(t, Check(s, zones), &wrong, "%s %d", field, i)
			require.Equal(t, field, wrong.Field, "%s %d: %v", field, i, wrong)
		}
	}
}
