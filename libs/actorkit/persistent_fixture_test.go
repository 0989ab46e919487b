package actorkit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/memory"
)

// The fixture's stream is a set of accounts that must not go below zero.
type (
	ledger struct {
		Accounts map[string]int `json:"accounts"`
		Events   int            `json:"events"`
	}
	// order changes accounts one after the other, all or none. Without changes it reads.
	order struct {
		Account string
		Changes []int
		// Pad is the size of each event beside its content.
		Pad int
	}
	// answer holds the balance after the order, or before it when it was refused.
	answer struct {
		Refused bool
		Balance int
	}
	change struct {
		Account string `json:"account"`
		By      int    `json:"by"`
	}
)

// bank is the behavior. Its fields make it fail.
type bank struct {
	pad      int // bytes added to each snapshot
	restore  func(seq uint64) error
	applying func(e persistence.Event) error
}

func (bank) Zero(persistence.Claim) *ledger { return &ledger{Accounts: map[string]int{}} }

func (b bank) Apply(s *ledger, e persistence.Event) (*ledger, error) {
	if b.applying != nil {
		if err := b.applying(e); err != nil {
			return s, err
		}
	}
	var c change
	if err := json.Unmarshal(e.Payload, &c); err != nil {
		return s, err
	}
	s.Accounts[c.Account] += c.By
	s.Events++
	return s, nil
}

func (bank) Draft(s *ledger) actorkit.Draft[order, answer] {
	return &overlay{base: s, deltas: map[string]int{}}
}

func (b bank) Snapshot(s *ledger) (persistence.Snapshot, error) {
	payload, err := json.Marshal(s)
	return persistence.Snapshot{Manifest: "ledger", Payload: append(payload, bytes.Repeat([]byte{' '}, b.pad)...)}, err
}

func (b bank) Restore(_ persistence.Claim, snap persistence.Snapshot) (*ledger, error) {
	if b.restore != nil {
		if err := b.restore(snap.Seq); err != nil {
			return nil, err
		}
	}
	s := &ledger{}
	return s, json.Unmarshal(snap.Payload, s)
}

type overlay struct {
	base   *ledger
	deltas map[string]int
}

func (o *overlay) Decide(c order, nextSeq uint64, _ time.Time) ([]persistence.Event, answer) {
	balance := o.base.Accounts[c.Account] + o.deltas[c.Account]
	var events []persistence.Event
	after := balance
	for i, by := range c.Changes {
		after += by
		if after < 0 {
			return nil, answer{Refused: true, Balance: balance}
		}
		payload, err := json.Marshal(change{Account: c.Account, By: by})
		if err != nil {
			panic(err)
		}
		payload = append(payload, bytes.Repeat([]byte{' '}, c.Pad)...)
		e := persistence.Event{Manifest: "change", Payload: payload}
		copy(e.MessageID[:], fmt.Sprintf("%016d", nextSeq+uint64(i)))
		events = append(events, e)
	}
	o.deltas[c.Account] += after - balance
	return events, answer{Balance: after}
}

// gate is a journal that can be held, made to fail, and looked into.
type gate struct {
	persistence.Journal

	mu      sync.Mutex
	appends []int // events of each append tried
	saves   []persistence.Snapshot
	// before and after an append; an error of after hides a success.
	before, after func(ctx context.Context) error
	save          func() error
	recovered     func(*persistence.Recovery)
	entered       chan struct{}
}

func newGate() *gate {
	return &gate{Journal: memory.New(memory.Options{}), entered: make(chan struct{}, 1000)}
}

func (g *gate) set(f func(*gate)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(g)
}

func (g *gate) Append(ctx context.Context, c persistence.Claim, expected uint64, events []persistence.Event) (uint64, error) {
	g.mu.Lock()
	g.appends = append(g.appends, len(events))
	before, after := g.before, g.after
	g.mu.Unlock()
	g.entered <- struct{}{}
	if before != nil {
		if err := before(ctx); err != nil {
			return 0, err
		}
	}
	last, err := g.Journal.Append(ctx, c, expected, events)
	if after != nil && err == nil {
		err = after(ctx)
	}
	return last, err
}

func (g *gate) SaveSnapshot(ctx context.Context, c persistence.Claim, s persistence.Snapshot) error {
	g.mu.Lock()
	save := g.save
	g.mu.Unlock()
	var err error
	if save != nil {
		err = save()
	}
	if err == nil {
		err = g.Journal.SaveSnapshot(ctx, c, s)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		g.saves = append(g.saves, s)
	}
	return err
}

func (g *gate) Recover(ctx context.Context, c persistence.Claim) (persistence.Recovery, error) {
	rec, err := g.Journal.Recover(ctx, c)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.recovered != nil {
		g.recovered(&rec)
	}
	return rec, err
}

// hold makes appends wait until release is called.
func (g *gate) hold() (release func()) {
	open := make(chan struct{})
	g.set(func(g *gate) { g.before = func(context.Context) error { <-open; return nil } })
	return sync.OnceFunc(func() {
		g.set(func(g *gate) { g.before = nil })
		close(open)
	})
}

func (g *gate) batches() []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]int(nil), g.appends...)
}

func (g *gate) snapshots() []uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	var seqs []uint64
	for _, s := range g.saves {
		seqs = append(seqs, s.Seq)
	}
	return seqs
}

type (
	stream = actorkit.Persistent[*ledger, order, answer]
	// outcome is what the handler was told of one command.
	outcome struct {
		Order  order
		Answer answer
		Seqs   []uint64
		Err    error
	}
	submit struct{ orders []order }
	look   struct{}
	view   struct {
		ledger  ledger
		seq     uint64
		stopped error
		busy    bool
	}
)

// teller is an actor around one stream.
type teller struct {
	cfg      actorkit.PersistentConfig
	behavior bank
	p        *stream
	// from, if set, is what PreStart recovers from; used tells whether it was of use.
	from     *actorkit.Preloaded[*ledger]
	used     bool
	outcomes chan outcome
	// stopCtx bounds Stop.
	stopErr chan error
}

func (a *teller) PreStart(ctx *actor.Context) error {
	a.p = actorkit.NewPersistent(a.cfg, actorkit.Behavior[*ledger, order, answer](a.behavior), actorkit.PersistentHandler[order, answer]{
		Committed: func(_ *actor.ReceiveContext, batch []actorkit.Decided[order, answer]) {
			for _, d := range batch {
				o := outcome{Order: d.Command, Answer: d.Reply}
				for _, e := range d.Events {
					o.Seqs = append(o.Seqs, e.Seq)
				}
				a.outcomes <- o
			}
		},
		Failed: func(_ *actor.ReceiveContext, cmds []order, err error) {
			for _, c := range cmds {
				a.outcomes <- outcome{Order: c, Err: err}
			}
		},
	})
	var err error
	a.used, err = a.p.RecoverFrom(ctx.Context(), a.from)
	return err
}

func (a *teller) Receive(rctx *actor.ReceiveContext) {
	if a.p.Receive(rctx) {
		return
	}
	switch m := rctx.Message().(type) {
	case *actor.PostStart:
	case submit:
		for _, o := range m.orders {
			if err := a.p.Submit(rctx, o, 100+o.Pad); err != nil {
				a.outcomes <- outcome{Order: o, Err: err}
			}
		}
	case look:
		s := a.p.State()
		rctx.Response(view{
			ledger: ledger{Accounts: maps.Clone(s.Accounts), Events: s.Events},
			seq:    a.p.Seq(), stopped: a.p.Stopped(), busy: a.p.Busy(),
		})
	default:
		rctx.Unhandled()
	}
}

func (a *teller) PostStop(ctx *actor.Context) error {
	a.stopErr <- a.p.Stop(ctx.Context())
	return nil
}

// desk drives a teller.
type desk struct {
	t    require.TestingT
	sys  actor.ActorSystem
	pid  *actor.PID
	gate *gate
	*teller
}

func startSystem(t testing.TB) actor.ActorSystem {
	t.Helper()
	sys, err := actorkit.StartLocal(context.Background(), "tellers", nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sys.Stop(context.Background())) })
	return sys
}

func openDesk(t require.TestingT, sys actor.ActorSystem, g *gate, name string, behavior bank, edit ...func(*actorkit.PersistentConfig)) (*desk, error) {
	return openDeskFrom(t, sys, g, name, nil, behavior, edit...)
}

func openDeskFrom(t require.TestingT, sys actor.ActorSystem, g *gate, name string, from *actorkit.Preloaded[*ledger], behavior bank,
	edit ...func(*actorkit.PersistentConfig)) (*desk, error) {
	cfg := actorkit.PersistentConfig{Key: "ledger/1", Owner: name, Journal: g}
	for _, e := range edit {
		e(&cfg)
	}
	a := &teller{cfg: cfg, behavior: behavior, from: from, outcomes: make(chan outcome, 20_000), stopErr: make(chan error, 1)}
	pid, err := sys.Spawn(context.Background(), name, a, actorkit.SpawnOptions()...)
	return &desk{t: t, sys: sys, pid: pid, gate: g, teller: a}, err
}

func newDesk(t *testing.T, behavior bank, edit ...func(*actorkit.PersistentConfig)) *desk {
	t.Helper()
	d, err := openDesk(t, startSystem(t), newGate(), "t", behavior, edit...)
	require.NoError(t, err)
	return d
}

func (d *desk) submit(orders ...order) {
	require.NoError(d.t, d.sys.NoSender().Tell(context.Background(), d.pid, submit{orders}))
}

// look returns the stream as it is once everything sent before has been handled.
func (d *desk) look() view {
	v, err := d.sys.NoSender().Ask(context.Background(), d.pid, look{}, actorkittest.Patience)
	require.NoError(d.t, err)
	return v.(view)
}

func (d *desk) next() outcome {
	select {
	case o := <-d.outcomes:
		return o
	case <-time.After(actorkittest.Patience):
		require.Fail(d.t, "no outcome", "appends %v", d.gate.batches())
		return outcome{}
	}
}

func (d *desk) nextN(n int) []outcome {
	all := make([]outcome, n)
	for i := range all {
		all[i] = d.next()
	}
	return all
}

func (d *desk) awaitAppend() {
	select {
	case <-d.gate.entered:
	case <-time.After(actorkittest.Patience):
		require.Fail(d.t, "no append")
	}
}

func (d *desk) stop() error {
	require.NoError(d.t, d.pid.Shutdown(context.Background()))
	return <-d.stopErr
}

func add(account string, changes ...int) order { return order{Account: account, Changes: changes} }

var errOops = errors.New("oops")

const (
	waitFor = actorkittest.Patience
	tick    = time.Millisecond
)

func decodeChange(t require.TestingT, e persistence.Event) change {
	var c change
	require.NoError(t, json.Unmarshal(e.Payload, &c))
	return c
}
