package gateway

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/opskit/memory"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	"github.com/parley-rt/parley/libs/protocol/codes"
	"github.com/parley-rt/parley/services/gateway/internal/hub"
	"github.com/parley-rt/parley/services/gateway/internal/ws"
)

const (
	// memoryEvery is how often the process's memory is looked at.
	memoryEvery = 100 * time.Millisecond
	// shedEvery is the time in which what was closed gives its memory back, before more is closed.
	shedEvery = 500 * time.Millisecond
	// shedPart of all connections is closed at once, and shedLeast in any case.
	shedPart, shedLeast = 50, 8
	// freeEvery is how often the Go runtime is made to give back what it does not need, while there is too little.
	freeEvery = 5 * time.Second
	// comeBackFrom and comeBackWithin are when those who had to go may come back.
	comeBackFrom, comeBackWithin = 2 * time.Second, 8 * time.Second
	// backlogPart of the memory may wait for slow connections, within bounds.
	backlogPart, backlogLeast, backlogMost = 8, 8 << 20, 1 << 30
)

// Memory is what a process may use: *memory.Budget. Safe for concurrent use.
type Memory interface {
	// Limit is the smallest limit, in bytes, and who sets it.
	Limit() (bytes int64, name string)
	// Used is what is used of the limit that is nearest.
	Used() (used, of int64, err error)
}

// backlogOf is how much of the memory may wait for slow connections.
func backlogOf(m Memory) int64 {
	limit, _ := m.Limit()
	return min(max(limit/backlogPart, backlogLeast), backlogMost)
}

// admission keeps the gateway within its memory: it refuses newcomers and, if that is not enough, closes connections, those first
// that take what they are sent slowest. All it does has an answer that says when to come back.
//
//	open ──80 %──► refusing: 503 to newcomers ──92 %──► shedding: some get reconnect and 4002
//	in all: who makes others wait for memory is closed with 4001
type admission struct {
	memory   Memory // nil: nobody looks
	acceptor *ws.Acceptor
	logger   *slog.Logger
	metrics  *admissionMetrics

	level       memory.Level
	shed, freed time.Time
}

func newAdmission(m Memory, a *ws.Acceptor, b *ws.Backlog, mp metric.MeterProvider, logger *slog.Logger) (*admission, error) {
	ad := &admission{memory: m, acceptor: a, logger: opskit.RateLimited(logger)}
	var err error
	ad.metrics, err = newAdmissionMetrics(mp, m, b)
	return ad, err
}

// run looks after the memory until ctx ends.
func (a *admission) run(ctx context.Context) {
	t := time.NewTicker(memoryEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			a.look(now)
		}
	}
}

func (a *admission) look(now time.Time) {
	a.measure()
	a.acceptor.SetFull(a.level != memory.Open)
	a.acceptor.Relieve(a.level != memory.Open)
	if a.level == memory.Open {
		return
	}
	if a.level == memory.Shedding && now.Sub(a.shed) >= shedEvery {
		a.shed = now
		n := a.acceptor.Shed(max(shedLeast, a.acceptor.Active()/shedPart), clientv1.CloseCode_CLOSE_CODE_OVERLOADED, farewell)
		a.metrics.shed.Add(context.Background(), int64(n))
	}
	if now.Sub(a.freed) >= freeEvery {
		debug.FreeOSMemory()
		a.freed = time.Now() // it takes its time
	}
}

// measure moves the level by what is used. When that cannot be told the level stays: there is nothing to judge by.
func (a *admission) measure() {
	if a.memory == nil {
		return
	}
	used, of, err := a.memory.Used()
	if err != nil {
		a.logger.Warn("memory in use not known", slog.Any("err", err))
		return
	}
	next := a.level.Next(float64(used) / float64(of))
	if next != a.level {
		a.logger.Warn("memory admission changes", slog.String("from", a.level.String()), slog.String("to", next.String()),
			slog.Int64("used_bytes", used), slog.Int64("limit_bytes", of), slog.Int("connections", a.acceptor.Active()))
	}
	a.level = next
	a.metrics.level.Store(int64(next))
}

// farewell tells a connection when to come back.
func farewell(c codec.Codec) []byte {
	after := comeBackFrom + rand.N(comeBackWithin)
	frame, err := hub.Frame(c, &clientv1.Envelope{Kind: &clientv1.Envelope_Reconnect{Reconnect: &clientv1.Reconnect{
		AfterMs: uint32(after.Milliseconds()), Reason: codes.CloseName(clientv1.CloseCode_CLOSE_CODE_OVERLOADED),
	}}})
	if err != nil {
		panic(err) // it has a number and a name in it
	}
	return frame
}
