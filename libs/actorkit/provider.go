package actorkit

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// findTimeout bounds one search for nodes.
	findTimeout = 5 * time.Second
	// findEvery is the pause between two searches while too few nodes are there.
	findEvery = 250 * time.Millisecond
)

// provider is the discovery provider that GoAkt's cluster engine asks whom to join: once at the start, and every five seconds
// while this node is in a minority.
//
// The engine decides at the start, once, whether it joins others; it then waits for a quorum without looking for them again. So
// the first answer is held back until the nodes of a quorum answer on their discovery ports, which they have open before they
// ask the same question. However long that takes, whichever comes first: all then join each other.
type provider struct {
	finder Finder
	self   string // host:discoveryPort
	quorum int
	alive  func(ctx context.Context, addr string) bool
	// farewell tells the others that an earlier life of this node has ended.
	farewell func(ctx context.Context, others []string) error
	logger   *slog.Logger
	// waiting is told what is waited for.
	waiting func(error)
	// opened is called when the engine has begun: what only the beginning of a start needs may be given back.
	opened func()

	// ctx ends the wait for a quorum.
	ctx    context.Context
	formed atomic.Bool
	// joining is closed when the engine has been told whom to join.
	joining chan struct{}
	told    sync.Once
	open    sync.Once
	failed  error
}

// providerID is how the engine recognises its provider.
const providerID = "parley"

func (p *provider) ID() string { return providerID }

func (p *provider) Initialize() error {
	p.open.Do(func() {
		p.failed = p.finder.Open(p.self)
		p.opened()
	})
	return p.failed
}

func (p *provider) Register() error { return nil }

func (p *provider) Deregister() error { return nil }

func (p *provider) Close() error { return p.finder.Close() }

// DiscoverPeers returns the nodes that answer, never this one unless it is the only one.
func (p *provider) DiscoverPeers() ([]string, error) {
	said := ""
	for {
		others, err := p.look()
		if p.formed.Load() {
			return others, err
		}
		if err == nil && len(others)+1 >= p.quorum {
			p.formed.Store(true)
			defer p.told.Do(func() { close(p.joining) })
			if len(others) == 0 {
				return []string{p.self}, nil
			}
			p.waiting(fmt.Errorf("joining %s", strings.Join(others, " ")))
			p.depart(p.ctx, others)
			p.settle()
			return others, nil
		}
		if err == nil {
			err = fmt.Errorf("%d of the %d nodes that are needed answer: %s", len(others)+1, p.quorum, strings.Join(append(others, p.self), " "))
		}
		p.waiting(err)
		if said != err.Error() {
			said = err.Error()
			p.logger.Warn("waiting for other nodes", slog.Any("err", err))
		}
		select {
		case <-p.ctx.Done():
			return nil, context.Cause(p.ctx)
		case <-time.After(findEvery):
		}
	}
}

// insist repeats the farewell, ever more rarely, until ctx ends, in case a start that goes on has got stuck. Before the engine joins anybody it cannot
// be: a farewell in the middle of that would only begin it anew.
func (p *provider) insist(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-p.joining:
	}
	for wait := farewellEvery; ; wait *= 2 { // a busy machine takes longer to join than a farewell lets it
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if others, err := p.look(); err == nil && len(others) > 0 && ctx.Err() == nil {
			p.logger.Warn("joining again: the cluster has not taken this node in yet", slog.Any("peers", others))
			p.depart(ctx, others)
		}
	}
}

// settle gives what was under way towards an earlier life of this node the time to fail here, see farewell.
func (p *provider) settle() {
	select {
	case <-p.ctx.Done():
	case <-time.After(farewellSettle):
	}
}

// depart says farewell. Who is not told finds out by itself, later.
func (p *provider) depart(ctx context.Context, others []string) {
	if err := p.farewell(ctx, others); err != nil {
		p.logger.Warn("could not tell all nodes that an earlier life of this one has ended", slog.Any("err", err))
	}
}

// look finds the other nodes that answer, in order.
func (p *provider) look() ([]string, error) {
	// Later searches outlive the start's context.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), findTimeout)
	defer cancel()
	found, err := p.finder.Find(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(found)
	found = slices.DeleteFunc(slices.Compact(found), func(addr string) bool { return addr == p.self })
	answers := make([]bool, len(found))
	var asked sync.WaitGroup
	for i, addr := range found {
		asked.Go(func() { answers[i] = p.alive(ctx, addr) })
	}
	asked.Wait()
	var alive []string
	for i, addr := range found {
		if answers[i] {
			alive = append(alive, addr)
		}
	}
	return alive, nil
}
