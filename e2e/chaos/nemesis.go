package chaos

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/e2e/history"
	"github.com/parley-rt/parley/e2e/network"
)

const (
	// drainTimeout is how long a node may take to end after SIGTERM.
	drainTimeout = 60 * time.Second
	// whisperTimeout is how long the nemesis waits for what it wants stored just before it strikes.
	whisperTimeout = time.Second
	// quietLeast and quietMost bound the time after an episode; it is over when everybody has recovered. Every quietLong-th is as
	// long as it may be, so that a duel of writers would be seen.
	quietLeast, quietMost = 6500 * time.Millisecond, 12 * time.Second
	quietLong             = 3
	// reachAfter is how long TCP may take to notice that a wire is whole again.
	reachAfter = 5 * time.Second
)

// Strike is a fault that happened.
type Strike struct {
	Fault
	// Alone: no other fault happened in its episode.
	Alone    bool
	From, To time.Duration
	// Owned are the rooms that the hit node wrote.
	Owned []string
}

// nemesis makes schedules come true.
type nemesis struct {
	w        *World
	logf     func(format string, args ...any)
	strikes  []*Strike
	healings []history.Healing
	// prompt are times in which messages must get around what is dead or frozen.
	prompt []history.Healing
	// hit are the nodes that had a fault since all were well.
	hit map[string]bool
	// broken are violations that only the nemesis sees.
	broken []history.Violation
}

// event is the beginning or the end of a fault.
type event struct {
	at time.Duration
	do func(ctx context.Context) error
}

// run goes through the episodes. An error is the test's own.
func (n *nemesis) run(ctx context.Context, episodes []Episode) error {
	for i, e := range episodes {
		n.logf("%8s  episode %d of %d: %s", n.now(), i+1, len(episodes), e)
		if err := n.episode(ctx, e); err != nil {
			return fmt.Errorf("episode %d (%s): %w", i+1, e, err)
		}
		if err := n.heal(ctx, i%quietLong == quietLong-1 || i == len(episodes)-1); err != nil {
			return fmt.Errorf("after episode %d (%s): %w", i+1, e, err)
		}
	}
	return nil
}

func (n *nemesis) now() time.Duration { return n.w.clock().Round(10 * time.Millisecond) }

// episode strikes and returns when all faults have ended.
func (n *nemesis) episode(ctx context.Context, e Episode) error {
	claims, err := claimsOf(ctx, n.w.postgres.URL())
	if err != nil {
		return err
	}
	n.w.whisper(ctx, whisperTimeout)
	drained := make(chan func() error)
	var events []event
	drains := 0
	for _, f := range e {
		strike := &Strike{Fault: f, Alone: len(e) == 1}
		for room, claim := range claims {
			if slices.Contains(f.side(), claim.Owner) {
				strike.Owned = append(strike.Owned, room)
			}
		}
		n.strikes = append(n.strikes, strike)
		n.touch(f.side()...)
		if f.Action == Drain {
			drains++
			events = append(events, event{f.After, func(ctx context.Context) error {
				strike.From = n.w.clock()
				go func() { drained <- n.drain(ctx, strike) }()
				return nil
			}})
			continue
		}
		events = append(events, n.beginAndEnd(strike)...)
	}
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	begin := time.Now()
	for _, ev := range events {
		for wait := time.Until(begin.Add(ev.at)); wait > 0; wait = time.Until(begin.Add(ev.at)) {
			select {
			case start := <-drained:
				drains--
				if err := start(); err != nil {
					return err
				}
			case <-time.After(wait):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := ev.do(ctx); err != nil {
			return err
		}
	}
	for ; drains > 0; drains-- {
		if err := (<-drained)(); err != nil {
			return err
		}
	}
	return nil
}

// drain ends a node in good order; what it returns starts the node again.
func (n *nemesis) drain(ctx context.Context, s *Strike) func() error {
	node := n.w.nodes[s.Target]
	err := node.Term(drainTimeout)
	took := n.w.clock() - s.From
	pause(ctx, s.For)
	return func() error {
		s.To = n.w.clock()
		n.logf("%8s  %s ended after %v", n.now(), s.Target, took.Round(time.Millisecond))
		if err != nil {
			n.report("L5", "%s was drained and ended with: %v", s.Target, err)
		}
		node.Start()
		return nil
	}
}

// beginAndEnd are the two events of a fault.
func (n *nemesis) beginAndEnd(s *Strike) []event {
	var begin, end func() error
	simple := func(do func()) func() error { return func() error { do(); return nil } }
	switch s.Action {
	case Kill:
		kill, start := n.process(s.Target)
		begin, end = simple(kill), simple(start)
	case Freeze:
		freeze, thaw := n.freezer(s.Target)
		begin, end = simple(freeze), simple(thaw)
	case Cut:
		begin, end = n.wires(n.cuts(s))
	case Split:
		begin, end = n.wires(n.splits(s))
	case Lose:
		begin, end = n.wires([]func() (func() error, error){func() (func() error, error) {
			return n.w.network.Lose(n.w.hosts[s.Target], s.Share)
		}})
	case Limp:
		var ease func()
		begin, end = simple(func() { ease = n.limp(s.Target) }), simple(func() { ease() })
	}
	return []event{
		{s.After, func(context.Context) error {
			s.From = n.w.clock()
			if err := begin(); err != nil {
				return err
			}
			n.w.askWhisper() // somebody has to find the new writer, for the sake of those who only read
			return nil
		}},
		{s.After + s.For, func(context.Context) error {
			err := end()
			s.To = n.w.clock()
			n.excuse(s)
			if s.Alone && (s.Action == Kill || s.Action == Freeze) && n.isRooms(s.Target) {
				n.prompt = append(n.prompt, history.Healing{From: s.From - whisperTimeout, To: s.To})
			}
			return err
		}},
	}
}

// wires does several things to the network, and ends them all.
func (n *nemesis) wires(breaks []func() (heal func() error, err error)) (begin, end func() error) {
	var heals []func() error
	begin = func() error {
		for _, doBreak := range breaks {
			heal, err := doBreak()
			if err != nil {
				return err
			}
			heals = append(heals, heal)
		}
		return nil
	}
	end = func() error {
		for _, heal := range heals {
			if err := heal(); err != nil {
				return err
			}
		}
		return nil
	}
	return begin, end
}

func (n *nemesis) cut(from, to string, refuse bool) func() (func() error, error) {
	return func() (func() error, error) {
		return n.w.network.Cut(network.Cut{From: n.w.hosts[from], To: n.w.hosts[to], Refuse: refuse})
	}
}

func (n *nemesis) cuts(s *Strike) []func() (func() error, error) {
	list := []func() (func() error, error){n.cut(s.Target, s.Peer, s.Refuse)}
	if s.Both {
		list = append(list, n.cut(s.Peer, s.Target, s.Refuse))
	}
	return list
}

func (n *nemesis) splits(s *Strike) []func() (func() error, error) {
	var list []func() (func() error, error)
	for name := range n.w.hosts {
		if name == clients || slices.Contains(s.side(), name) {
			continue
		}
		for _, inside := range s.side() {
			list = append(list, n.cut(name, inside, false), n.cut(inside, name, false))
		}
	}
	return list
}

// A limping process stands for up to limpStop and goes for up to limpGo, in turns: it is slow, and neither dead nor alive to those
// who wait for it.
const limpStop, limpGo = 400 * time.Millisecond, 200 * time.Millisecond

// limp begins; ease ends it. Its steps are not the seed's: what they hit, no seed repeats.
func (n *nemesis) limp(target string) (ease func()) {
	freeze, thaw := n.freezer(target)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			freeze()
			pause(ctx, limpStop/4+rand.N(limpStop*3/4))
			thaw()
			pause(ctx, limpGo/4+rand.N(limpGo*3/4))
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func (n *nemesis) process(target string) (kill, start func()) {
	switch target {
	case postgres:
		return n.w.postgres.Kill9, n.w.postgres.Start
	case controlPlane:
		return n.w.plane.Kill9, n.w.plane.Start
	default:
		return n.w.nodes[target].Kill9, n.w.nodes[target].Start
	}
}

func (n *nemesis) freezer(target string) (freeze, thaw func()) {
	switch target {
	case postgres:
		return n.w.postgres.Pause, n.w.postgres.Resume
	case controlPlane:
		return n.w.plane.Freeze, n.w.plane.Thaw
	default:
		return n.w.nodes[target].Freeze, n.w.nodes[target].Thaw
	}
}

// excuse notes that a gateway could not answer.
func (n *nemesis) excuse(s *Strike) {
	gateway, to := s.Target, s.To
	switch {
	case (s.Action == Freeze || s.Action == Limp) && n.isGateway(s.Target):
	case s.Action == Lose && n.isGateway(s.Target):
		to += reachAfter
	case s.Action == Cut && s.Peer == clients:
		to += reachAfter
	case s.Action == Cut && s.Target == clients:
		gateway, to = s.Peer, to+reachAfter
	default:
		return
	}
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	n.w.excuses = append(n.w.excuses, history.Excuse{Gateway: gateway, From: s.From, To: to})
}

func (n *nemesis) isRooms(name string) bool {
	return slices.ContainsFunc(n.w.rooms, func(r *harness.Node) bool { return r.Name == name })
}

func (n *nemesis) isGateway(name string) bool {
	return slices.ContainsFunc(n.w.gateways, func(g *harness.Node) bool { return g.Name == name })
}

// heal waits until all nodes are well and then until everybody has recovered, or had the time to.
func (n *nemesis) heal(ctx context.Context, long bool) error {
	ready, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := n.supervise(ready); err != nil {
		return fmt.Errorf("a node is not well after the faults have ended: %w", err)
	}
	clear(n.hit)
	h := history.Healing{From: n.w.clock()}
	next := make([]<-chan history.Acked, 0, len(n.w.recorders))
	for _, r := range n.w.recorders {
		if n.w.silent[r.Room()] == nil {
			next = append(next, r.Next())
		}
	}
	most, cancel := context.WithTimeout(ctx, quietMost) // for all rooms together: one that is lost would wait for ever
	defer cancel()
	least, cancel := context.WithTimeout(ctx, quietLeast)
	defer cancel()
	for _, acked := range next {
		select {
		case <-acked:
		case <-most.Done():
		}
	}
	writable := n.w.clock() - h.From
	if long {
		least = most
	}
	<-least.Done()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	h.To = n.w.clock()
	n.healings = append(n.healings, h)
	n.logf("%8s  well again since %v; all rooms took publishes %v after that", n.now(), h.From.Round(10*time.Millisecond), writable.Round(time.Millisecond))
	return nil
}

// touch notes that nodes have a fault.
func (n *nemesis) touch(nodes ...string) {
	if n.hit == nil {
		n.hit = make(map[string]bool)
	}
	for _, name := range nodes {
		n.hit[name] = true
	}
}

// supervise starts again what has ended by itself, as systemd and Kubernetes do, until all nodes are well. A node may give up
// that had a fault; that others go with it is a violation.
func (n *nemesis) supervise(ctx context.Context) error {
	for _, node := range slices.Concat(n.w.rooms, n.w.gateways) {
		for {
			err := node.AwaitReady(ctx)
			if err == nil {
				break
			}
			running, why := node.Running()
			if running || why == nil || ctx.Err() != nil {
				return err
			}
			n.logf("%8s  %s ended by itself (%v) and is started again: %s", n.now(), node.Name, why, node.LastError())
			if !n.hit[node.Name] {
				n.report("S9", "%s ended by itself, without a fault of its own: %v: %s", node.Name, why, node.LastError())
			}
			_ = node.AwaitEnd(ctx) // it has ended; why is known
			node.Start()
		}
	}
	return nil
}

func (n *nemesis) report(promise, format string, args ...any) {
	n.broken = append(n.broken, history.Violation{Promise: promise, Room: "(all)", Text: fmt.Sprintf(format, args...)})
}

// whisper has one message stored in every silent room, for instance as the last thing before a fault. It waits so long at most.
func (w *World) whisper(ctx context.Context, atMost time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	var next []<-chan history.Acked
	for _, m := range w.silent {
		next = append(next, m.record.Next())
	}
	w.askWhisper()
	for _, acked := range next {
		select {
		case <-acked:
		case <-ctx.Done():
			return
		}
	}
}

// askWhisper asks for one more message in every silent room and waits for nothing.
func (w *World) askWhisper() {
	for _, m := range w.silent {
		select {
		case m.whisper <- struct{}{}:
		default: // one is asked for already
		}
	}
}
