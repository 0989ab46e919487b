package scheduler

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-rt/parley/libs/dcplane/memory"
	"github.com/parley-rt/parley/libs/persistence"
	journalmemory "github.com/parley-rt/parley/libs/persistence/memory"
	"github.com/parley-rt/parley/libs/persistence/persistencetest"
	"github.com/parley-rt/parley/libs/persistence/sqlite"
	adminv1 "github.com/parley-rt/parley/libs/protocol/admin/v1"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/names"
)

func soon(room, content string) *adminv1.ScheduleSpec {
	return &adminv1.ScheduleSpec{RoomId: room, Content: content, Timing: &adminv1.ScheduleSpec_After{After: durationpb.New(0)}}
}

func every(room, expression string) *adminv1.ScheduleSpec {
	return &adminv1.ScheduleSpec{RoomId: room, Content: "tick", Timing: &adminv1.ScheduleSpec_Cron{Cron: expression}}
}

func create(t testing.TB, s *Service, spec *adminv1.ScheduleSpec, key string) *adminv1.Schedule {
	t.Helper()
	res, err := adminOf(t, s).CreateSchedule(t.Context(), &adminv1.CreateScheduleRequest{Spec: spec, IdempotencyKey: key})
	require.NoError(t, err)
	return res.GetSchedule()
}

func get(t testing.TB, s *Service, id string) *adminv1.Schedule {
	t.Helper()
	res, err := adminOf(t, s).GetSchedule(t.Context(), &adminv1.GetScheduleRequest{ScheduleId: id})
	require.NoError(t, err)
	return res.GetSchedule()
}

// until waits until a schedule is as wanted, as that node sees it.
func until(t testing.TB, s *Service, id string, is func(*adminv1.Schedule) bool) *adminv1.Schedule {
	t.Helper()
	var last *adminv1.Schedule
	require.Eventually(t, func() bool { last = get(t, s, id); return is(last) }, patience, 10*time.Millisecond)
	return last
}

// S6: a message at a time is in its room once, with what was asked for, and the schedule says so.
func TestAMessageAtATime(t *testing.T) {
	t.Parallel()
	backend, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "journal.db"), sqlite.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, backend.Close(context.Background())) })
	plane := memory.NewPlane()
	rooms := startFakeRooms(t, plane)
	s := startScheduler(t, plane, backend, "scheduler-1")
	rooms.meet(s)
	at := time.Now().Add(300 * time.Millisecond)
	spec := &adminv1.ScheduleSpec{RoomId: "lobby", Content: "hello", Sender: "bot", Timing: &adminv1.ScheduleSpec_At{At: timestamppb.New(at)}}
	made := create(t, s, spec, "")
	require.Equal(t, adminv1.ScheduleState_SCHEDULE_STATE_ACTIVE, made.GetState())
	require.Len(t, made.GetUpcoming(), 1)
	got := rooms.wait("lobby", 1)
	require.False(t, time.Now().Before(at), "not before its time")
	require.Equal(t, "bot", got[0].MemberId)
	require.Equal(t, "hello", got[0].Drafts[0].Content)
	ended := until(t, s, made.GetScheduleId(), func(s *adminv1.Schedule) bool { return s.GetState() == adminv1.ScheduleState_SCHEDULE_STATE_ENDED })
	require.Len(t, ended.GetHistory(), 1)
	require.EqualValues(t, 1, ended.GetHistory()[0].GetSeq())
	require.Equal(t, adminv1.FiringState_FIRING_STATE_DONE, ended.GetHistory()[0].GetState())
	require.Nil(t, ended.GetOpen())
	require.Len(t, rooms.of("lobby"), 1)
}

// S6, L4: the node that has the book stops while schedules fire; the other goes on, and every firing is in its room once.
func TestTakeover(t *testing.T) {
	t.Parallel()
	plane, backend := memory.NewPlane(), journalmemory.New(journalmemory.Options{})
	rooms := startFakeRooms(t, plane)
	one := startScheduler(t, plane, backend, "scheduler-1")
	require.Eventually(t, one.HasBook, patience, 5*time.Millisecond)
	two := startScheduler(t, plane, backend, "scheduler-2")
	rooms.meet(one, two)
	const schedules = 50
	var ids []string
	for n := range schedules {
		// Through the node that does not have the book.
		ids = append(ids, create(t, two, every(fmt.Sprint("room-", n), "@every 1s"), fmt.Sprint(n)).GetScheduleId())
	}
	rooms.wait("room-0", 1)
	stopScheduler(t, one)
	stopped := len(rooms.of("room-0"))
	rooms.wait("room-0", stopped+2)
	require.True(t, two.HasBook())
	admin := adminOf(t, two)
	for _, id := range ids {
		_, err := admin.PauseSchedule(t.Context(), &adminv1.PauseScheduleRequest{ScheduleId: id})
		require.NoError(t, err)
	}
	for n, id := range ids {
		s := until(t, two, id, func(s *adminv1.Schedule) bool { return s.GetOpen() == nil })
		require.Zero(t, s.GetMissed())
		got := rooms.of(fmt.Sprint("room-", n))
		require.EqualValues(t, s.GetFired(), len(got), "each that was due is there, once")
		for i, p := range got {
			require.EqualValues(t, i+1, p.Firing.Number)
		}
	}
}

// S6: the node dies when it has stored that a firing began, or when the room has it and the book does not know yet. What was on
// its way to the journal is not told to it.
func TestTheBookLosesItsJournal(t *testing.T) {
	t.Parallel()
	plane, backend, plan := memory.NewPlane(), journalmemory.New(journalmemory.Options{}), persistencetest.NewPlan()
	rooms := startFakeRooms(t, plane)
	s := startScheduler(t, plane, persistencetest.Faulty(backend, plan), "scheduler-1")
	rooms.meet(s)
	made := create(t, s, every("lobby", "@every 1s"), "k")
	key := persistence.StreamKey(names.SchedulesStream(names.ScheduleShard(made.GetScheduleId())))
	for _, fault := range []persistencetest.Fault{
		{Op: persistencetest.OpAppend, Key: key, Late: true, Err: persistence.ErrUnknown}, // of a begin, or of an end
		{Op: persistencetest.OpAppend, Key: key, Err: persistence.ErrUnavailable, Times: 3},
		{Op: persistencetest.OpAppend, Key: key, Err: persistence.ErrUnknown},
	} {
		had := len(rooms.of("lobby"))
		plan.Add(fault)
		rooms.wait("lobby", had+2)
	}
	_, err := adminOf(t, s).PauseSchedule(t.Context(), &adminv1.PauseScheduleRequest{ScheduleId: made.GetScheduleId()})
	require.NoError(t, err)
	last := until(t, s, made.GetScheduleId(), func(s *adminv1.Schedule) bool { return s.GetOpen() == nil })
	require.EqualValues(t, last.GetFired(), len(rooms.of("lobby")))
	require.Empty(t, last.GetFailed())
}

// What a room refuses, or does not answer, is tried until its time is up, then listed with its reason; meanwhile others are not
// delayed. It is replayed as a new firing, or dropped.
func TestFailures(t *testing.T) {
	t.Parallel()
	plane, backend := memory.NewPlane(), journalmemory.New(journalmemory.Options{})
	rooms := startFakeRooms(t, plane)
	s := startScheduler(t, plane, backend, "scheduler-1")
	rooms.meet(s)
	rooms.set(func() {
		rooms.refuse["banned"] = clientv1.ErrorCode_ERROR_CODE_BANNED
		rooms.refuse["invalid"] = clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT
		rooms.mute["silent"], rooms.deaf["deaf"] = true, true
	})
	patient := func(room string) *adminv1.ScheduleSpec {
		spec := soon(room, "x")
		spec.RetryFor = durationpb.New(5 * time.Second)
		return spec
	}
	ids := map[string]string{}
	for _, room := range []string{"banned", "invalid", "silent", "deaf"} {
		ids[room] = create(t, s, patient(room), room).GetScheduleId()
	}
	began := time.Now()
	create(t, s, soon("lobby", "not delayed"), "lobby")
	rooms.wait("lobby", 1)
	require.Less(t, time.Since(began), 4*time.Second)
	failed := func(room string) *adminv1.Firing {
		got := until(t, s, ids[room], func(s *adminv1.Schedule) bool { return s.GetOpen() == nil && len(s.GetHistory()) > 0 })
		require.Len(t, got.GetFailed(), 1, room)
		return got.GetFailed()[0]
	}
	require.Equal(t, "INVALID_ARGUMENT", failed("invalid").GetCode(), "which no attempt can change")
	banned := failed("banned")
	require.Equal(t, "BANNED", banned.GetCode())
	require.Equal(t, "no", banned.GetReason())
	require.False(t, banned.GetUnknownOutcome())
	require.GreaterOrEqual(t, banned.GetAt().AsTime().Sub(banned.GetDue().AsTime()), 4*time.Second, "it was tried again")
	silent := failed("silent")
	require.Empty(t, silent.GetCode())
	require.NotEmpty(t, silent.GetReason())
	require.True(t, silent.GetUnknownOutcome())
	require.True(t, failed("deaf").GetUnknownOutcome(), "and it is there after all")
	require.Len(t, rooms.of("deaf"), 1, "once")

	admin := adminOf(t, s)
	list, err := admin.ListSchedules(t.Context(), &adminv1.ListSchedulesRequest{Failed: true})
	require.NoError(t, err)
	require.Len(t, list.GetSchedules(), 4)
	rooms.set(func() { clear(rooms.refuse) })
	for range 2 {
		replayed, err := admin.ReplayFiring(t.Context(), &adminv1.ReplayFiringRequest{ScheduleId: ids["banned"], Number: banned.GetNumber(), OperationId: "op"})
		require.NoError(t, err)
		require.Empty(t, replayed.GetSchedule().GetFailed())
	}
	require.EqualValues(t, 2, rooms.wait("banned", 1)[0].Firing.Number)
	_, err = admin.DropFiring(t.Context(), &adminv1.DropFiringRequest{ScheduleId: ids["silent"], Number: silent.GetNumber()})
	require.NoError(t, err)
	_, err = admin.DropFiring(t.Context(), &adminv1.DropFiringRequest{ScheduleId: ids["silent"], Number: silent.GetNumber()})
	require.Equal(t, connect.CodeNotFound, connect.CodeOf(err))
}

// Rooms are away when something is due, and come back.
func TestRoomsAreAway(t *testing.T) {
	t.Parallel()
	plane, backend := memory.NewPlane(), journalmemory.New(journalmemory.Options{})
	s := startScheduler(t, plane, backend, "scheduler-1")
	made := create(t, s, soon("lobby", "x"), "")
	until(t, s, made.GetScheduleId(), func(s *adminv1.Schedule) bool { return s.GetOpen() != nil })
	rooms := startFakeRooms(t, plane)
	rooms.meet(s)
	rooms.wait("lobby", 1)
	until(t, s, made.GetScheduleId(), func(s *adminv1.Schedule) bool { return len(s.GetHistory()) == 1 && len(s.GetFailed()) == 0 })
}

func TestCreateTwice(t *testing.T) {
	t.Parallel()
	plane, backend := memory.NewPlane(), journalmemory.New(journalmemory.Options{})
	one := startScheduler(t, plane, backend, "scheduler-1")
	two := startScheduler(t, plane, backend, "scheduler-2")
	var group sync.WaitGroup
	made := make([]*adminv1.CreateScheduleResponse, 16)
	errs := make([]error, len(made))
	for i := range made {
		admin := adminOf(t, []*Service{one, two}[i%2])
		group.Go(func() {
			made[i], errs[i] = admin.CreateSchedule(t.Context(), &adminv1.CreateScheduleRequest{Spec: every("lobby", "@daily"), IdempotencyKey: "k"})
		})
	}
	group.Wait()
	first := 0
	for i, res := range made {
		require.NoError(t, errs[i])
		require.Equal(t, made[0].GetSchedule().GetScheduleId(), res.GetSchedule().GetScheduleId())
		if !res.GetDuplicate() {
			first++
		}
	}
	require.Equal(t, 1, first)
	_, err := adminOf(t, two).CreateSchedule(t.Context(), &adminv1.CreateScheduleRequest{Spec: every("lobby", "@hourly"), IdempotencyKey: "k"})
	require.Equal(t, connect.CodeAlreadyExists, connect.CodeOf(err))
	a, b := create(t, one, every("lobby", "@daily"), ""), create(t, one, every("lobby", "@daily"), "")
	require.NotEqual(t, a.GetScheduleId(), b.GetScheduleId())
}

// What is wrong is told by the field's name.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	s := startScheduler(t, memory.NewPlane(), journalmemory.New(journalmemory.Options{}), "scheduler-1")
	admin := adminOf(t, s)
	field := func(err error) string {
		require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err), "%v", err)
		var told *connect.Error
		require.ErrorAs(t, err, &told)
		for _, d := range told.Details() {
			value, err := d.Value()
			require.NoError(t, err)
			if bad, ok := value.(*errdetails.BadRequest); ok {
				return bad.GetFieldViolations()[0].GetField()
			}
		}
		return ""
	}
	zone := every("lobby", "@daily")
	zone.TimeZone = "Mars/Olympus"
	never := every("lobby", "@daily")
	never.EndsAt = timestamppb.New(time.Now().Add(-time.Hour))
	for want, spec := range map[string]*adminv1.ScheduleSpec{
		"spec": nil, "cron": every("lobby", "61 * * * *"), "room_id": every("no room", "@daily"), "time_zone": zone, "timing": never,
		"after": {RoomId: "lobby", Content: "x", Timing: &adminv1.ScheduleSpec_After{After: durationpb.New(-1)}},
	} {
		_, err := admin.CreateSchedule(t.Context(), &adminv1.CreateScheduleRequest{Spec: spec})
		require.Equal(t, want, field(err))
	}
	_, err := admin.GetSchedule(t.Context(), &adminv1.GetScheduleRequest{ScheduleId: "a/b"})
	require.Equal(t, "schedule_id", field(err))
	_, err = admin.GetSchedule(t.Context(), &adminv1.GetScheduleRequest{ScheduleId: "nobody"})
	require.Equal(t, connect.CodeNotFound, connect.CodeOf(err))
	_, err = admin.ReplayFiring(t.Context(), &adminv1.ReplayFiringRequest{ScheduleId: "nobody"})
	require.Equal(t, "number", field(err))
	_, err = admin.ListSchedules(t.Context(), &adminv1.ListSchedulesRequest{PageSize: 1001})
	require.Equal(t, "page_size", field(err))
}

// A life of a schedule through the API: pages, changes, pause, trigger, the end.
func TestLifeOfASchedule(t *testing.T) {
	t.Parallel()
	plane := memory.NewPlane()
	rooms := startFakeRooms(t, plane)
	s := startScheduler(t, plane, journalmemory.New(journalmemory.Options{}), "scheduler-1")
	rooms.meet(s)
	admin := adminOf(t, s)
	want := map[string]bool{}
	for n := range 25 {
		want[create(t, s, every([]string{"lobby", "other"}[n%2], "@daily"), fmt.Sprint(n)).GetScheduleId()] = true
	}
	token, pages, seen := "", 0, 0
	for {
		res, err := admin.ListSchedules(t.Context(), &adminv1.ListSchedulesRequest{PageSize: 10, PageToken: token})
		require.NoError(t, err)
		for _, sch := range res.GetSchedules() {
			require.True(t, want[sch.GetScheduleId()])
			seen++
		}
		pages++
		if token = res.GetNextPageToken(); token == "" {
			break
		}
	}
	require.Equal(t, []int{3, 25}, []int{pages, seen})
	of, err := admin.ListSchedules(t.Context(), &adminv1.ListSchedulesRequest{RoomId: "lobby"})
	require.NoError(t, err)
	require.Len(t, of.GetSchedules(), 13)

	id := of.GetSchedules()[0].GetScheduleId()
	_, err = admin.UpdateSchedule(t.Context(), &adminv1.UpdateScheduleRequest{ScheduleId: id, Spec: every("changed", "30 9 * * 1-5")})
	require.NoError(t, err)
	upcoming, err := admin.GetSchedule(t.Context(), &adminv1.GetScheduleRequest{ScheduleId: id, Upcoming: 7})
	require.NoError(t, err)
	require.Len(t, upcoming.GetSchedule().GetUpcoming(), 7)
	for _, at := range upcoming.GetSchedule().GetUpcoming() {
		require.Equal(t, "09:30", at.AsTime().Format("15:04"))
	}
	paused, err := admin.PauseSchedule(t.Context(), &adminv1.PauseScheduleRequest{ScheduleId: id})
	require.NoError(t, err)
	require.Equal(t, adminv1.ScheduleState_SCHEDULE_STATE_PAUSED, paused.GetSchedule().GetState())
	for range 2 {
		_, err = admin.TriggerSchedule(t.Context(), &adminv1.TriggerScheduleRequest{ScheduleId: id, OperationId: "op"})
		require.NoError(t, err)
	}
	rooms.wait("changed", 1)
	resumed, err := admin.ResumeSchedule(t.Context(), &adminv1.ResumeScheduleRequest{ScheduleId: id})
	require.NoError(t, err)
	require.Equal(t, adminv1.ScheduleState_SCHEDULE_STATE_ACTIVE, resumed.GetSchedule().GetState())
	for range 2 {
		_, err = admin.DeleteSchedule(t.Context(), &adminv1.DeleteScheduleRequest{ScheduleId: id})
		require.NoError(t, err)
	}
	require.Equal(t, adminv1.ScheduleState_SCHEDULE_STATE_DELETED, get(t, s, id).GetState())
	_, err = admin.PauseSchedule(t.Context(), &adminv1.PauseScheduleRequest{ScheduleId: id})
	require.Equal(t, connect.CodeNotFound, connect.CodeOf(err))
	require.Len(t, rooms.of("changed"), 1)
}
