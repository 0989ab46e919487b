package chaostest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// tail is the name of the consumer that follows every lane, on two nodes at once.
const tail = "tail"

// laneDuel is the two consumers of one lane that take the checkpoint from each other, and what is known of it.
type laneDuel struct {
	l    *load
	lane int16

	mu sync.Mutex
	// epoch and pos are the highest that a claim or a save was acknowledged with; tried is the highest pos that anybody
	// wanted to save.
	epoch, pos, tried uint64
}

// startConsumers begins them, each lane's checkpoint being claimed already.
func (l *load) startConsumers(ctx context.Context) error {
	heads, err := l.at(0).Lanes(ctx)
	if err != nil {
		return fmt.Errorf("lanes: %w", err)
	}
	for i, head := range heads {
		d := &laneDuel{l: l, lane: head.Lane}
		l.lanes = append(l.lanes, d)
		if _, err := d.claim(ctx, l.at(0), "first"); err != nil {
			return fmt.Errorf("claim the checkpoint of lane %d: %w", head.Lane, err)
		}
		for j := range 2 {
			owner := fmt.Sprintf("%s-%d", tail, j)
			random := l.random(uint64(4000 + 10*i + j))
			l.reading.Go(func() { d.consume(ctx, owner, random) })
		}
		l.reading.Go(func() { l.spectate(ctx, head.Lane, l.random(uint64(4500+i))) })
	}
	return nil
}

func (d *laneDuel) claim(ctx context.Context, n *node, owner string) (persistence.Checkpoint, error) {
	d.mu.Lock()
	epoch, pos := d.epoch, d.pos
	d.mu.Unlock()
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := n.ClaimCheckpoint(ctx, tail, d.lane, owner)
	if err != nil {
		return c, err
	}
	d.l.witness.wrote("", began, fmt.Sprintf("claim of the checkpoint of lane %d", d.lane))
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.Epoch <= epoch {
		d.l.witness.fail(rises, "", "the checkpoint of lane %d was claimed with epoch %d after epoch %d", d.lane, c.Epoch, epoch)
	}
	if c.Pos < pos || c.Pos > d.tried {
		d.l.witness.fail(kept, "", "the checkpoint of lane %d was claimed at %d; acknowledged was %d, nobody wanted more than %d", d.lane, c.Pos, pos, d.tried)
	}
	d.epoch = max(d.epoch, c.Epoch)
	return c, nil
}

// save moves the checkpoint; false: it must be claimed again.
func (d *laneDuel) save(ctx context.Context, n *node, c persistence.Checkpoint, pos uint64, random *rand.Rand) bool {
	for {
		d.mu.Lock()
		epoch := d.epoch
		d.tried = max(d.tried, pos)
		d.mu.Unlock()
		began := time.Now()
		op, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := n.SaveCheckpoint(op, c, pos)
		cancel()
		switch {
		case err == nil:
			d.saved(c, pos, epoch, began)
			return true
		case errors.Is(err, persistence.ErrUnknown), errors.Is(err, persistence.ErrClosed):
			return false
		case errors.Is(err, persistence.ErrFenced):
			d.l.counts.consumersFenced.Add(1)
			return false
		case errors.Is(err, persistence.ErrUnavailable), errors.Is(err, persistence.ErrOverloaded):
			if !pause(ctx, between(random, 30*time.Millisecond)) {
				return false
			}
		default:
			if ctx.Err() == nil {
				d.l.witness.fail(contract, "", "save of %d by %s in epoch %d of lane %d: %v", pos, c.Owner, c.Epoch, d.lane, err)
			}
			return false
		}
	}
}

// saved notes a save that began when the highest epoch given was that.
func (d *laneDuel) saved(c persistence.Checkpoint, pos, epoch uint64, began time.Time) {
	d.l.counts.checkpoints.Add(1)
	d.l.witness.wrote("", began, fmt.Sprintf("checkpoint of lane %d", d.lane))
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.Epoch < epoch {
		d.l.witness.fail(alone, "", "%s saved the checkpoint of lane %d in epoch %d, begun after epoch %d was given", c.Owner, d.lane, c.Epoch, epoch)
	}
	d.pos = max(d.pos, pos)
}

// consume follows the lane: it claims the checkpoint, reads on from it and saves it, until the other one takes it.
func (d *laneDuel) consume(ctx context.Context, owner string, random *rand.Rand) {
	for ctx.Err() == nil {
		n := d.l.node(random)
		c, err := d.claim(ctx, n, owner)
		switch {
		case err == nil:
			d.follow(ctx, n, c, random)
		case !transient(err) && ctx.Err() == nil:
			d.l.witness.fail(contract, "", "claim of the checkpoint of lane %d by %s: %v", d.lane, owner, err)
		}
		pause(ctx, between(random, 200*time.Millisecond))
	}
}

// follow reads and saves until the checkpoint is lost, or it is time to look from another node.
func (d *laneDuel) follow(ctx context.Context, n *node, c persistence.Checkpoint, random *rand.Rand) {
	after := c.Pos
	for range 20 + random.IntN(100) {
		op, cancel := context.WithTimeout(ctx, 10*time.Second)
		events, next, err := n.ReadLane(op, d.lane, after, 1+random.IntN(300))
		cancel()
		switch {
		case errors.Is(err, persistence.ErrTrimmed):
			// Only somebody who does not hold the checkpoint any more can have fallen behind what is trimmed.
			if d.save(ctx, n, c, after, random) {
				d.l.witness.fail(delivered, "", "lane %d is trimmed beyond %d, where its checkpoint is: %v", d.lane, after, err)
			}
			return
		case err != nil:
			if !transient(err) && ctx.Err() == nil {
				d.l.witness.fail(contract, "", "read of lane %d after %d: %v", d.lane, after, err)
			}
			return
		}
		d.l.history.Page(tail, d.lane, after, events, next)
		d.l.witness.fed(c.Owner+" on "+n.name, events)
		d.l.counts.fed.Add(int64(len(events)))
		if next != after && !d.save(ctx, n, c, next, random) {
			return
		}
		if next == after && !pause(ctx, between(random, 30*time.Millisecond)) {
			return
		}
		after = next
	}
}

// transient tells whether an error of something that may be repeated says: try again, maybe on another node.
func transient(err error) bool {
	for _, sentinel := range []error{persistence.ErrUnavailable, persistence.ErrOverloaded, persistence.ErrUnknown, persistence.ErrClosed} {
		if errors.Is(err, sentinel) {
			return true
		}
	}
	return false
}

// place is how far the consumers of the lane have come, as acknowledged.
func (d *laneDuel) place() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pos
}
