package rooms

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/dcplane/memory"
	"github.com/parley-rt/parley/libs/persistence"
	journalmemory "github.com/parley-rt/parley/libs/persistence/memory"
	"github.com/parley-rt/parley/libs/persistence/sqlite"
)

// BenchmarkMoves measures what becomes of rooms that are all published to, twice a second each, when their node stops, when
// another one joins, and when their node is gone at once. Run it with -benchtime 1x: one iteration is one such event.
//
// drain and join report how long rooms took no frames (pause), as their node measures it; crash how long it took from the end
// of the node to the room's next acknowledgement (writable). worst-ack is the longest that the publisher in a room waited for an
// acknowledgement while rooms moved, calm-ack the same in the 2 s before; both are percentiles over rooms.
func BenchmarkMoves(b *testing.B) {
	for _, backend := range []struct {
		name string
		open func(testing.TB) persistence.Backend
	}{
		{"memory", func(testing.TB) persistence.Backend { return journalmemory.New(journalmemory.Options{}) }},
		{"sqlite", func(t testing.TB) persistence.Backend {
			s, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "journal.db"), sqlite.Options{})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, s.Close(context.Background())) })
			return s
		}},
		{"postgres", openPostgres},
	} {
		b.Run("drain/"+backend.name, func(b *testing.B) { benchMoves(b, backend.open, benchDrain) })
		b.Run("join/"+backend.name, func(b *testing.B) { benchMoves(b, backend.open, benchJoin) })
		b.Run("crash/"+backend.name, func(b *testing.B) { benchMoves(b, backend.open, benchCrash) })
	}
}

func benchMoves(b *testing.B, open func(testing.TB) persistence.Backend, run func(*testing.B, persistence.Backend)) {
	for range b.N {
		b.StopTimer()
		run(b, open(b))
	}
}

const (
	benchRooms = 1000
	benchEvery = 500 * time.Millisecond
	// pauseBudget is how long a room may take no frames while it is handed over.
	pauseBudget = 250 * time.Millisecond
)

// benchPair starts two nodes that know each other; the first one's log goes to pauses.
func benchPair(b *testing.B, backend persistence.Backend, pauses *pauseLog) *pair {
	p := &pair{plane: memory.NewPlane(), backend: backend}
	p.gw = startGateway(b, p.plane, "gw-1")
	p.one = startRoomsLogging(b, slog.New(pauses), p.plane, backend, "rooms-1", func(c *Config) { c.DrainTimeout = time.Minute })
	p.two = startRooms(b, p.plane, backend, "rooms-2")
	p.gw.connect(p.one, p.two)
	waitLinked(b, p.one, "rooms-2")
	waitLinked(b, p.two, "rooms-1")
	return p
}

func benchDrain(b *testing.B, backend persistence.Backend) {
	pauses := &pauseLog{}
	p := benchPair(b, backend, pauses)
	ids := roomIDs(benchRooms)
	p.gw.occupy("rooms-1", ids)
	tr := startTraffic(b, p.gw, "ada", ids, "rooms-1", bothNodes, benchEvery)
	<-time.After(5 * time.Second)
	b.StartTimer()
	began := time.Now()
	stopRooms(b, p.one)
	b.StopTimer()
	ended := time.Now()
	<-time.After(time.Second)
	publishers := tr.stop()
	verify(b, backend, publishers)
	pauses.report(b)
	reportWorst(b, publishers, began, ended)
}

func benchJoin(b *testing.B, backend persistence.Backend) {
	pauses := &pauseLog{}
	edit := func(c *Config) { c.RestFor, c.DrainTimeout = time.Millisecond, time.Minute }
	one := &bundle{plane: memory.NewPlane()}
	one.gw = startGateway(b, one.plane, "gw-1")
	one.rooms = startRoomsLogging(b, slog.New(pauses), one.plane, backend, "rooms-1", edit)
	one.gw.connect(one.rooms)
	ids := roomIDs(2 * benchRooms)
	one.gw.occupy("rooms-1", ids)
	// Those that move, which are about half, are published to.
	var moving []string
	for id, node := range placed(ids, bothNodes) {
		if node == "rooms-2" {
			moving = append(moving, id)
		}
	}
	tr := startTraffic(b, one.gw, "ada", moving, "rooms-1", bothNodes, benchEvery)
	two := startRooms(b, one.plane, backend, "rooms-2", edit)
	one.gw.connect(one.rooms, two)
	<-time.After(10 * time.Second) // the directory settles
	one.gw.wait("Closed", func(frames []received) bool {
		return slices.ContainsFunc(frames, func(r received) bool { return r.frame.GetClosed() != nil })
	})
	b.StartTimer()
	began := time.Now()
	for _, id := range moving {
		one.gw.closed(id, 1)
	}
	b.StopTimer()
	ended := time.Now()
	<-time.After(2 * time.Second) // for the line in the log
	publishers := tr.stop()
	verify(b, backend, publishers)
	reportWorst(b, publishers, began, ended)
	b.ReportMetric(float64(len(moving)), "rooms")
	stopRooms(b, one.rooms)
	pauses.report(b)
}

func benchCrash(b *testing.B, backend persistence.Backend) {
	p := benchPair(b, backend, &pauseLog{})
	ids := roomIDs(benchRooms)
	p.gw.occupy("rooms-1", ids)
	tr := startTraffic(b, p.gw, "ada", ids, "rooms-1", bothNodes, benchEvery)
	<-time.After(3 * time.Second)
	b.StartTimer()
	killed := time.Now()
	kill(b, p.one)
	b.StopTimer()
	<-time.After(8 * time.Second)
	publishers := tr.stop()
	verify(b, backend, publishers)
	var writable []time.Duration
	for _, p := range publishers {
		i := slices.IndexFunc(p.acked, func(a ack) bool { return a.at.After(killed) && a.node == "rooms-2" })
		require.GreaterOrEqual(b, i, 0, "%s was never writable again", p.room)
		writable = append(writable, p.acked[i].at.Sub(killed))
	}
	reportPercentiles(b, "writable", writable)
}

// reportWorst reports the longest acknowledgement of each publisher between two times, and in the 2 s before.
func reportWorst(b *testing.B, publishers []*publisher, began, ended time.Time) {
	var worst, calm []time.Duration
	for _, p := range publishers {
		longest := func(from, to time.Time) (took time.Duration) {
			for _, a := range p.acked {
				if a.at.After(from) && a.at.Add(-a.took).Before(to) {
					took = max(took, a.took)
				}
			}
			return took
		}
		worst = append(worst, longest(began, ended))
		calm = append(calm, longest(began.Add(-2*time.Second), began.Add(-100*time.Millisecond)))
	}
	reportPercentiles(b, "worst-ack", worst)
	reportPercentiles(b, "calm-ack", calm)
}

func reportPercentiles(b *testing.B, what string, all []time.Duration) {
	slices.Sort(all)
	for _, p := range []struct {
		name string
		part float64
	}{{"p50", 0.5}, {"p99", 0.99}, {"max", 1}} {
		i := min(int(float64(len(all))*p.part), len(all)-1)
		b.ReportMetric(float64(all[i].Microseconds())/1000, what+"-"+p.name+"-ms")
	}
}

// pauseLog reads from a node's log what it says about pauses.
type pauseLog struct {
	lines []map[string]slog.Value
}

func (l *pauseLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (l *pauseLog) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *pauseLog) WithGroup(string) slog.Handler                    { return l }

func (l *pauseLog) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "rooms given away" || r.Message == "rooms moved to nodes that joined" {
		line := make(map[string]slog.Value)
		r.Attrs(func(a slog.Attr) bool { line[a.Key] = a.Value; return true })
		l.lines = append(l.lines, line)
	}
	return nil
}

func (l *pauseLog) report(b *testing.B) {
	for _, line := range l.lines {
		if line["moved"].Int64() == 0 {
			continue
		}
		for _, p := range []string{"p50", "p99"} {
			b.ReportMetric(float64(line["pause_"+p].Duration().Microseconds())/1000, "pause-"+p+"-ms")
		}
		if p99 := line["pause_p99"].Duration(); p99 > pauseBudget {
			b.Errorf("rooms paused for %s at the 99th percentile, %s is the most", p99, pauseBudget)
		}
		b.ReportMetric(float64(line["moved"].Int64()), "moved")
		b.ReportMetric(float64(line["released"].Int64()), "released")
		return
	}
	require.Fail(b, "no room moved", "%v", l.lines)
}
