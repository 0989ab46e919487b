package scheduler

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-rt/parley/libs/dcplane/memory"
	"github.com/parley-rt/parley/libs/persistence/sqlite"
	"github.com/parley-rt/parley/libs/protocol/ids"
	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
	schedulerv1 "github.com/parley-rt/parley/libs/protocol/scheduler/v1"
)

// BenchmarkBook makes 100,000 schedules on SQLite, 5,000 of which are due in the same second, hands the book to another node, and tells
// how fast they are made, how long the other takes to have them, what one takes in memory, and when all that were due were in
// their rooms. The rooms are an end of a Link: they store nothing.
//
//	go test ./services/scheduler -run '^$' -bench Book -benchtime 1x
func BenchmarkBook(b *testing.B) {
	const schedules, burst = 100_000, 5000
	for b.Loop() {
		backend, err := sqlite.Open(context.Background(), filepath.Join(b.TempDir(), "journal.db"), sqlite.Options{})
		require.NoError(b, err)
		plane := memory.NewPlane()
		rooms := startFakeRooms(b, plane)
		one := startScheduler(b, plane, backend, "scheduler-1")
		rooms.meet(one)
		due := time.Now().Add(40 * time.Second).Truncate(time.Second)
		began := time.Now()
		var group errgroup.Group
		group.SetLimit(512)
		for n := range schedules {
			spec := &journalv1.ScheduleSpec{
				RoomId: fmt.Sprint("room-", n%1000), Content: fmt.Sprintf("%0100d", n), TimeZone: "America/Los_Angeles",
				Timing: &journalv1.ScheduleSpec_Cron{Cron: fmt.Sprintf("%d %d * * 1-5", n%60, n/60%24)},
			}
			if n < burst {
				spec.TimeZone, spec.Timing = "", &journalv1.ScheduleSpec_At{At: timestamppb.New(due)}
			}
			group.Go(func() error {
				id := ids.DedupeKey("bench", fmt.Sprint(n))
				answer, err := one.desk.Do(b.Context(), &schedulerv1.Call{
					ScheduleId: fmt.Sprintf("%x", id), Command: &schedulerv1.Call_Create{Create: &schedulerv1.Create{Spec: spec}},
				})
				if err == nil && answer.Problem != 0 {
					err = fmt.Errorf("create %d: %v", n, answer.Problem)
				}
				return err
			})
		}
		require.NoError(b, group.Wait())
		b.ReportMetric(schedules/time.Since(began).Seconds(), "created/s")

		stopScheduler(b, one)
		before := heap()
		began = time.Now()
		two := startScheduler(b, plane, backend, "scheduler-2")
		rooms.meet(two)
		require.Eventually(b, two.HasBook, time.Minute, time.Millisecond)
		b.ReportMetric(time.Since(began).Seconds(), "s-to-load")
		b.ReportMetric(float64(heap()-before)/schedules, "B/schedule")
		require.True(b, time.Now().Before(due), "too slow: they were due before the book was there")
		arrived := func() int {
			rooms.mu.Lock()
			defer rooms.mu.Unlock()
			n := 0
			for _, got := range rooms.got {
				n += len(got)
			}
			return n
		}
		require.Eventually(b, func() bool { return arrived() >= burst }, 2*time.Minute, 5*time.Millisecond)
		b.ReportMetric(time.Since(due).Seconds(), "s-for-5000")
		stopScheduler(b, two)
		require.NoError(b, backend.Close(context.Background()))
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
