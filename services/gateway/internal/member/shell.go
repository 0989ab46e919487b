package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/tochemey/goakt/v4/actor"
	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-rt/parley/libs/actorkit"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	"github.com/parley-rt/parley/libs/protocol/ids"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/gateway/internal/hub"
	"github.com/parley-rt/parley/services/gateway/internal/route"
	"github.com/parley-rt/parley/services/gateway/internal/ws"
)

// Router is what a member needs of route.Router.
type Router interface {
	Send(f *roomv1.Frame, trace actorkit.Frame, avoid []string) (string, error)
	SetOwner(room, node string)
}

// Hub is what a member needs of hub.Hub.
type Hub interface {
	Attach(sink hub.Sink, room string, start hub.Start)
	Rejoin(sink hub.Sink, room string, id uint32)
	Detach(sink hub.Sink, room string, last []byte)
}

// Deps is what all members of a node share. Fields are required but where they say otherwise; call Init once before use.
type Deps struct {
	Config Config
	// FirstFrameWait is how long a client may take to send hello before it gets a new session.
	FirstFrameWait time.Duration
	System         actor.ActorSystem
	Router         Router
	Hub            Hub
	Sessions       *Sessions
	Gate           *Gate
	Registry       *Registry
	// Authenticate checks tokens; nil, and only then: Config.Authenticate is not set.
	Authenticate Authenticate
	// AuthTimeout is how long a client may take to say who it is.
	AuthTimeout time.Duration
	// Backlog counts the frames that wait for rooms; nil: nobody does.
	Backlog *ws.Backlog
	// ShardEnded is called when a Shard has ended, whose share of the connections nobody can open any more: with the system, or by a
	// fault that should not be. It must not block. nil: nobody wants to know.
	ShardEnded     func()
	Logger         *slog.Logger
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider
	Now            func() time.Time

	metrics *metrics
	tracer  trace.Tracer
	shards  []*actor.PID
	next    atomic.Uint64 // connection number
}

// Init makes the instruments and starts the shards, which stop with the system.
func (d *Deps) Init(ctx context.Context) error {
	m, err := newMetrics(d.MeterProvider)
	if err == nil {
		err = openingMetrics(d.MeterProvider, d.Gate)
	}
	if err != nil {
		return fmt.Errorf("create instruments: %w", err)
	}
	d.metrics = m
	d.tracer = d.TracerProvider.Tracer(meterName)
	// Answers to connections of an earlier life of this node must not meet one of this.
	d.next.Store(rand.Uint64() >> 1)
	d.Config = d.Config.withDefaults()
	return d.startShards(ctx)
}

// span starts a command's span: a root, or a child of the trace that the client's message names.
func (d *Deps) span(cmd *Command) trace.Span {
	name, ctx := "client frame", context.Background()
	var attributes []attribute.KeyValue
	if cmd.Err == nil {
		name = "client " + codec.Kind(cmd.Env)
		if m := cmd.Env.GetMessage(); m != nil && m.GetTraceparent() != "" {
			ctx = actorkit.ExtractTrace(ctx, actorkit.Frame{Traceparent: m.GetTraceparent(), Tracestate: m.GetTracestate()})
		}
	}
	_, span := d.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(cmd.At))
	if span.IsRecording() {
		attributes = append(attributes, attribute.String("messaging.system", "parley"))
		if room := roomOf(cmd.Env); ids.CheckRoom(room) == nil { // what was not checked may be anything
			attributes = append(attributes, attribute.String("messaging.destination.template", "room"), attribute.String("messaging.destination.name", room))
		}
		span.SetAttributes(attributes...)
	}
	return span
}

func roomOf(env *clientv1.Envelope) string {
	switch k := env.GetKind().(type) {
	case *clientv1.Envelope_JoinRoom:
		return echo(k.JoinRoom.GetRoomId())
	case *clientv1.Envelope_LeaveRoom:
		return echo(k.LeaveRoom.GetRoomId())
	case *clientv1.Envelope_Message:
		return echo(k.Message.GetTarget())
	case *clientv1.Envelope_Signal:
		return echo(k.Signal.GetTarget())
	case *clientv1.Envelope_History:
		return echo(k.History.GetRoomId())
	case *clientv1.Envelope_Presence:
		return echo(k.Presence.GetRoomId())
	default:
		return ""
	}
}

// effects are a Member's Effects: a type of its own so that they are not part of the Member's methods.
type effects Member

func (e *effects) Reply(env *clientv1.Envelope) {
	if f := e.compile(env); f != nil {
		e.conn.Send(f)
	}
}

// compile encodes a frame for this connection. What cannot be encoded is a fault of ours, and the client is not left
// waiting for it: it resumes.
func (e *effects) compile(env *clientv1.Envelope) []byte {
	f, err := hub.Frame(e.conn.Codec(), env)
	if err != nil {
		e.d.Logger.Error("frame cannot be encoded; the connection is closed to resume", "kind", codec.Kind(env), "err", err)
		e.conn.CloseWith(clientv1.CloseCode_CLOSE_CODE_INTERNAL)
		return nil
	}
	e.d.metrics.sent(env)
	return f
}

func (e *effects) Room() bool {
	if e.asked {
		return false
	}
	e.kept = e.conn.HasRoom((*Member)(e))
	e.asked = !e.kept
	return e.kept
}

func (e *effects) Page(env *clientv1.Envelope) {
	if f := e.compile(env); f != nil {
		e.conn.SendPaced(f)
	}
}

func (e *effects) Close(code clientv1.CloseCode) {
	e.Entered()
	e.conn.CloseWith(code)
}

func (e *effects) Release(bytes int) { e.window.give(bytes) }

func (e *effects) Enter() (now bool) {
	m := (*Member)(e)
	e.turn, now = e.d.Gate.Enter(func() { m.tell(&admittedMsg{to{m}}) })
	return now
}

func (e *effects) Entered() {
	if e.turn != nil {
		e.turn.Leave()
		e.turn = nil
	}
}

func (e *effects) Later() time.Duration { return e.d.Gate.Later() }

// authenticateWithin bounds the check of a token, which may have to wait for keys. It is less than Core waits for it.
const authenticateWithin = 3500 * time.Millisecond

func (e *effects) Authenticate(token string) {
	check := e.d.Authenticate
	e.task(func(t to) message {
		ctx, cancel := context.WithTimeout(context.Background(), authenticateWithin)
		defer cancel()
		p, err := check(ctx, token)
		return &authenticatedMsg{t, p, err}
	})
}

func (e *effects) Expire(at time.Time) { e.d.Registry.expiries.set((*Member)(e), at) }

func (e *effects) OpenSession(member, token string, attempt uint64) {
	sessions := e.d.Sessions
	e.task(func(t to) message {
		return &openedMsg{t, sessions.open(context.Background(), member, token, attempt)}
	})
}

func (e *effects) SaveRooms(version uint64, rooms []string) {
	sessions, session := e.d.Sessions, e.core.session
	e.task(func(t to) message {
		return &savedMsg{t, version, sessions.saveRooms(context.Background(), session, rooms)}
	})
}

// task runs f beside the turns; the member gets what it returns. A task is bounded by a timeout of its own. A panic in it would end the
// process otherwise.
func (e *effects) task(f func(t to) message) {
	m := (*Member)(e)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				m.d.fault(p)
				m.tell(&faultMsg{to{m}})
			}
		}()
		m.tell(f(to{m}))
	}()
}

func (e *effects) Send(f *roomv1.Frame, avoid []string, span trace.Span) (string, error) {
	f.Connection = e.number
	var carrier actorkit.Frame
	// What nobody records goes without: then the way to the room and back makes no spans either, which costs more than a tenth of it.
	if span.SpanContext().IsSampled() {
		actorkit.InjectTrace(trace.ContextWithSpan(context.Background(), span), &carrier)
	}
	node, err := e.d.Router.Send(f, carrier, avoid)
	switch {
	case errors.Is(err, route.ErrBusy):
		err = ErrBusy
	case err != nil:
		err = ErrUnreachable
	}
	return node, err
}

func (e *effects) Owner(room, node string) { e.d.Router.SetOwner(room, node) }

func (e *effects) Attach(a Attachment) {
	first := make([][]byte, 0, len(a.First))
	for _, env := range a.First {
		if f := e.compile(env); f != nil {
			first = append(first, f)
		}
	}
	e.d.Hub.Attach(e.conn, a.Room, hub.Start{
		Member: e.core.session.Member, Cursor: a.Cursor, Epoch: a.Epoch, Incarnation: a.Incarnation, As: a.As, Node: a.Node, First: first,
		Evictee: (*Member)(e), Number: a.Number,
	})
}

func (e *effects) Rejoin(room string, id uint32) { e.d.Hub.Rejoin(e.conn, room, id) }

func (e *effects) Detach(room string, last *clientv1.Envelope) {
	var f []byte
	if last != nil {
		f = e.compile(last)
	}
	e.d.Hub.Detach(e.conn, room, f)
}

func (e *effects) Wake(at time.Time) { e.d.Registry.wake((*Member)(e), at) }

func (e *effects) Done(cmd *Command, outcome string) {
	if cmd.Env.GetMessage() != nil {
		e.d.metrics.published(e.d.Now().Sub(cmd.At), outcome)
	}
	if cmd.Span.IsRecording() && outcome != outcomeOK {
		cmd.Span.SetStatus(otelcodes.Error, outcome)
	}
	cmd.Span.End()
}
