package actorkit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
	"github.com/parley-rt/parley/libs/persistence"
)

// rivals are nodes that compete for one lease of a journal. Their actors are clerks.
type rivals struct {
	t       testing.TB
	journal persistence.Backend
	ttl     time.Duration
	terms   chan *clerk // each that started
	nodes   map[string]*rival
}

type rival struct {
	*actorkit.Singleton
	cut atomic.Bool
}

func startRivals(t testing.TB, journal persistence.Backend, ttl time.Duration, names ...string) *rivals {
	r := &rivals{t: t, journal: journal, ttl: ttl, terms: make(chan *clerk, 1000), nodes: map[string]*rival{}}
	for _, name := range names {
		r.start(name, func(c *clerk) actor.Actor { return c })
	}
	return r
}

// start lets a node compete. Its actors are what with makes of a clerk.
func (r *rivals) start(name string, with func(*clerk) actor.Actor, edit ...func(*actorkit.SingletonConfig)) *rival {
	r.t.Helper()
	sys, err := actorkit.StartLocal(context.Background(), name, nil)
	require.NoError(r.t, err)
	node := &rival{}
	cfg := actorkit.SingletonConfig{Name: "book", Node: name, TTL: r.ttl}
	for _, e := range edit {
		e(&cfg)
	}
	node.Singleton, err = actorkit.StartSingleton(r.t.Context(), cfg, cutLeases{r.journal, &node.cut}, sys, func(term *actorkit.Term) actor.Actor {
		return with(&clerk{node: name, term: term, journal: r.journal, terms: r.terms, stopped: make(chan struct{})})
	})
	require.NoError(r.t, err)
	r.nodes[name] = node
	r.t.Cleanup(func() {
		require.NoError(r.t, node.Stop(context.Background()))
		require.NoError(r.t, sys.Stop(context.Background()))
	})
	return node
}

// next returns the next term that begins.
func (r *rivals) next() *clerk {
	r.t.Helper()
	select {
	case c := <-r.terms:
		return c
	case <-time.After(actorkittest.Patience):
		require.Fail(r.t, "nobody took the lease")
		return nil
	}
}

// inOrder checks that nothing of a term was stored after something of a later one, and returns how many terms stored something.
func (r *rivals) inOrder() int { return inOrder(r.t, r.journal) }

func inOrder(t testing.TB, journal persistence.Journal) (terms int) {
	t.Helper()
	terms, violation := readTerms(t, journal)
	require.Empty(t, violation)
	return terms
}

func readTerms(t testing.TB, journal persistence.Journal) (terms int, violation string) {
	t.Helper()
	seq, last := uint64(0), uint64(0)
	for {
		events, err := journal.Read(t.Context(), clerksBook, seq+1, 1000)
		require.NoError(t, err)
		if len(events) == 0 {
			return terms, ""
		}
		for _, e := range events {
			var n note
			require.NoError(t, json.Unmarshal(e.Payload, &n))
			require.Equal(t, seq+1, e.Seq)
			if n.Term < last {
				return terms, fmt.Sprintf("seq %d of %s in term %d was stored after something of term %d", e.Seq, n.Node, n.Term, last)
			}
			if n.Term > last {
				terms++
			}
			seq, last = e.Seq, n.Term
		}
	}
}

// cutLeases are out of reach while cut says so: calls end with their context.
type cutLeases struct {
	persistence.LeaseStore
	cut *atomic.Bool
}

func (c cutLeases) AcquireLease(ctx context.Context, name, owner string, ttl time.Duration) (persistence.Lease, error) {
	if err := c.wait(ctx); err != nil {
		return persistence.Lease{}, err
	}
	return c.LeaseStore.AcquireLease(ctx, name, owner, ttl)
}

func (c cutLeases) RenewLease(ctx context.Context, l persistence.Lease, ttl time.Duration) (persistence.Lease, error) {
	if err := c.wait(ctx); err != nil {
		return persistence.Lease{}, err
	}
	return c.LeaseStore.RenewLease(ctx, l, ttl)
}

func (c cutLeases) ReleaseLease(ctx context.Context, l persistence.Lease) error {
	if err := c.wait(ctx); err != nil {
		return err
	}
	return c.LeaseStore.ReleaseLease(ctx, l)
}

func (c cutLeases) wait(ctx context.Context) error {
	if !c.cut.Load() {
		return nil
	}
	<-ctx.Done()
	return persistence.ErrUnavailable
}

const clerksBook persistence.StreamKey = "book/1"

// note is what a clerk writes.
type note struct {
	Node string
	Term uint64
}

// clerk writes into one stream for as long as it lives, whatever its term says: the journal has to refuse it.
type clerk struct {
	node    string
	term    *actorkit.Term
	journal persistence.Journal
	terms   chan *clerk
	claim   persistence.Claim
	pace    time.Duration // between two writes; at least, and by default, a millisecond
	// stubborn: it claims the stream again when it has lost it, and careless: without asking who has the lease.
	stubborn, careless bool

	name     string
	end      chan struct{}
	writing  sync.WaitGroup
	written  atomic.Int64
	wrote    func() // called upon the first
	writeErr error  // once stopped
	stopped  chan struct{}
}

func (c *clerk) PreStart(ctx *actor.Context) error {
	c.name, c.end = ctx.ActorName(), make(chan struct{})
	var err error
	c.claim, err = c.journal.Claim(ctx.Context(), clerksBook, c.node, persistence.ClaimOptions{Guard: c.term.Guard()})
	if err != nil {
		return err
	}
	c.writing.Go(c.write)
	c.terms <- c
	return nil
}

func (c *clerk) write() {
	payload, err := json.Marshal(note{Node: c.node, Term: c.term.Epoch()})
	seq := c.claim.LastSeq
	for err == nil {
		select {
		case <-c.end:
			return
		case <-time.After(max(c.pace, time.Millisecond)):
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		seq, err = c.journal.Append(ctx, c.claim, seq, []persistence.Event{{Payload: payload}})
		cancel()
		if errors.Is(err, persistence.ErrFenced) && c.stubborn {
			opts := persistence.ClaimOptions{Guard: c.term.Guard()}
			if c.careless {
				opts = persistence.ClaimOptions{}
			}
			c.claim, err = c.journal.Claim(context.Background(), clerksBook, c.node, opts)
			seq = c.claim.LastSeq
			continue
		}
		if err == nil && c.written.Add(1) == 1 && c.wrote != nil {
			c.wrote()
		}
	}
	c.writeErr = err
}

func (c *clerk) Receive(rctx *actor.ReceiveContext) {
	if rctx.Message() == "panic" {
		panic("trouble")
	}
}

func (c *clerk) PostStop(*actor.Context) error {
	close(c.end)
	c.writing.Wait()
	close(c.stopped)
	return nil
}

func await(t testing.TB, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(actorkittest.Patience):
		require.Fail(t, "waited in vain", what)
	}
}
