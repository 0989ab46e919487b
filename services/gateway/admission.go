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
	// shedEvery is the time in which what was closed gives its memory back, before more is closed; shedSoon holds when hardly any is
	// left, which is above shedSoonAt of the limit.
	shedEvery, shedSoon, shedSoonAt = 2500 * time.Millisecond, 500 * time.Millisecond, 0.96
	// shedPart of all connections is closed at once, and shedLeast in any case.
	shedPart, shedLeast = 50, 8
	// freeEvery is how often the Go runtime is made to give back what it does not need, while newcomers are refused, and freeSoon while
	// connections are closed; but it gets freeRest times as long a rest as it took.
	freeEvery, freeSoon, freeRest = 5 * time.Second, 500 * time.Millisecond, 10
	// pressedPlaces are the places for sockets that are no connections, of each kind, while newcomers are refused: what the kernel keeps
	// for a socket counts from when it is taken.
	pressedPlaces = 64
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
	narrow   func(on bool) // lets few wait to come in
	logger   *slog.Logger
	limited  *slog.Logger
	metrics  *admissionMetrics

	level memory.Level
	share float64   // of the limit that is used
	shed  time.Time // when connections were closed last
	free  time.Time // when the runtime may be made to give memory back again
}

func newAdmission(m Memory, a *ws.Acceptor, b *ws.Backlog, narrow func(on bool), mp metric.MeterProvider, logger *slog.Logger) (*admission, error) {
	ad := &admission{memory: m, acceptor: a, narrow: narrow, logger: logger, limited: opskit.RateLimited(logger)}
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
		case <-t.C:
			a.look()
		}
	}
}

func (a *admission) look() {
	a.measure()
	a.acceptor.SetFull(a.level != memory.Open)
	a.narrow(a.level != memory.Open)
	switch a.level {
	case memory.Open:
		a.acceptor.Relieve(ws.NeedNone)
	case memory.Refusing:
		a.acceptor.Relieve(ws.NeedRoom)
		a.giveBack(freeEvery)
	case memory.Shedding:
		a.acceptor.Relieve(ws.NeedRoomNow)
		a.makeRoom()
	}
}

// makeRoom closes some connections if nothing else helps, and then waits for what that gives.
func (a *admission) makeRoom() {
	wait := shedEvery
	if a.share >= shedSoonAt {
		wait = shedSoon
	}
	if time.Since(a.shed) < wait || !a.giveBack(freeSoon) {
		return
	}
	if a.measure(); a.level != memory.Shedding {
		return // it was garbage
	}
	n := a.acceptor.Shed(max(shedLeast, a.acceptor.Active()/shedPart), clientv1.CloseCode_CLOSE_CODE_OVERLOADED, farewell)
	a.metrics.shed.Add(context.Background(), int64(n))
	a.shed = time.Now()
}

// giveBack has the Go runtime give back what it does not need, if it did not do that since rest.
func (a *admission) giveBack(rest time.Duration) bool {
	begun := time.Now()
	if begun.Before(a.free) {
		return false
	}
	debug.FreeOSMemory()
	a.free = time.Now().Add(max(rest, freeRest*time.Since(begun)))
	return true
}

// measure moves the level by what is used. When that cannot be told the level stays: there is nothing to judge by.
func (a *admission) measure() {
	if a.memory == nil {
		return
	}
	used, of, err := a.memory.Used()
	if err != nil {
		a.limited.Warn("memory in use not known", slog.Any("err", err))
		return
	}
	a.share = float64(used) / float64(of)
	next := a.level.Next(a.share)
	if next != a.level {
		// Not rate limited: each change counts, and hysteresis keeps them few.
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
