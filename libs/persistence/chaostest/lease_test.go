package chaostest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// leaseDuel is a lease that every node wants, and a stream that its holder writes to under the lease's epoch.
type leaseDuel struct {
	l    *load
	name string

	mu sync.Mutex
	// terms are those that were acknowledged, by epoch.
	terms   map[uint64]*term
	highest uint64
}

// term is the hold of one epoch: by the store's clock, from its beginning to its end at least.
type term struct {
	owner      string
	from, till time.Time
	// loose: it may have ended before, because its holder gave it back, or wanted another time to live or another term and
	// does not know what it got.
	loose bool
}

func (d *leaseDuel) contend(ctx context.Context, slot int, random *rand.Rand) {
	for pause(ctx, between(random, 50*time.Millisecond)) {
		n := d.l.at(slot)
		highest := d.loosen(n)
		began := time.Now()
		ttl := time.Duration(200+random.IntN(600)) * time.Millisecond
		op, cancel := context.WithTimeout(ctx, 10*time.Second)
		lease, err := n.AcquireLease(op, d.name, n.name, ttl)
		cancel()
		switch {
		case err == nil:
			d.acquired(n, lease, ttl, highest, began)
			d.hold(ctx, n, lease, random)
		case errors.Is(err, persistence.ErrLeaseHeld):
			d.held(n, err)
		case !transient(err) && ctx.Err() == nil:
			d.l.witness.fail(contract, "", "acquire %s on %s: %v", d.name, n.name, err)
		}
	}
}

// loosen is called before anything by which a node may end its terms earlier than it knows of. It returns the highest
// epoch that was given.
func (d *leaseDuel) loosen(n *node) (highest uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range d.terms {
		t.loose = t.loose || t.owner == n.name
	}
	return d.highest
}

// held checks a refusal: somebody else has it.
func (d *leaseDuel) held(n *node, err error) {
	var held *persistence.LeaseHeldError
	if !errors.As(err, &held) || held.Held.Owner == n.name || held.Held.Owner == "" {
		d.l.witness.fail(contract, "", "acquire %s on %s: %v", d.name, n.name, err)
	}
}

func (d *leaseDuel) acquired(n *node, lease persistence.Lease, ttl time.Duration, highest uint64, began time.Time) {
	d.l.counts.terms.Add(1)
	d.l.witness.wrote("", began, "lease "+d.name)
	d.mu.Lock()
	defer d.mu.Unlock()
	if lease.Epoch <= highest {
		d.l.witness.fail(rises, "", "%s was given to %s with epoch %d after epoch %d", d.name, n.name, lease.Epoch, highest)
	}
	if other, given := d.terms[lease.Epoch]; given {
		d.l.witness.fail(alone, "", "epoch %d of %s was given to %s and to %s", lease.Epoch, d.name, other.owner, n.name)
	}
	if d.terms == nil {
		d.terms = map[uint64]*term{}
	}
	d.terms[lease.Epoch] = &term{owner: n.name, from: lease.ExpiresAt.Add(-ttl), till: lease.ExpiresAt}
	d.highest = max(d.highest, lease.Epoch)
	d.overlaps()
}

// overlaps checks that each term began after those of other owners before it had ended. The lock is held.
func (d *leaseDuel) overlaps() {
	const rounding = time.Millisecond // of times in the store
	for e, t := range d.terms {
		for later, u := range d.terms {
			if later > e && !t.loose && t.owner != u.owner && u.from.Add(rounding).Before(t.till) {
				d.l.witness.fail(alone, "", "%s held %s in epoch %d until %v, %s got it with epoch %d at %v", t.owner, d.name, e, t.till, u.owner, later, u.from)
			}
		}
		if e+20 < d.highest {
			delete(d.terms, e) // long over
		}
	}
}

// hold writes under the lease and renews it, for a while; then gives it back or lets it expire.
func (d *leaseDuel) hold(ctx context.Context, n *node, lease persistence.Lease, random *rand.Rand) {
	for range 1 + random.IntN(4) {
		a := d.l.activation(persistence.StreamKey("leased/"+d.name), n, d.l.random(random.Uint64()))
		a.term, a.rounds, a.pinned = lease.Epoch, 1+random.IntN(3), true
		a.live(ctx)
		if !d.renew(ctx, n, lease, time.Duration(200+random.IntN(600))*time.Millisecond) {
			return
		}
	}
	if random.IntN(3) == 0 {
		d.l.counts.lapses.Add(1)
		return
	}
	d.loosen(n)
	op, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := n.ReleaseLease(op, lease); err != nil && !transient(err) && ctx.Err() == nil {
		d.l.witness.fail(contract, "", "release %s on %s: %v", d.name, n.name, err)
	}
}

func (d *leaseDuel) renew(ctx context.Context, n *node, lease persistence.Lease, ttl time.Duration) bool {
	highest := d.loosen(n)
	began := time.Now()
	op, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	renewed, err := n.RenewLease(op, lease, ttl)
	if err != nil {
		if !errors.Is(err, persistence.ErrLeaseLost) && !transient(err) && ctx.Err() == nil {
			d.l.witness.fail(contract, "", "renew %s on %s: %v", d.name, n.name, err)
		}
		return false
	}
	d.l.witness.wrote("", began, "renewal of "+d.name)
	d.mu.Lock()
	defer d.mu.Unlock()
	if lease.Epoch < highest {
		d.l.witness.fail(alone, "", "%s renewed epoch %d of %s, begun after epoch %d was given", n.name, lease.Epoch, d.name, highest)
	}
	if t := d.terms[lease.Epoch]; t != nil {
		t.till, t.loose = renewed.ExpiresAt, false
		d.overlaps()
	}
	return true
}
