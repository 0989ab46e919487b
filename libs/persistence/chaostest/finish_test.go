package chaostest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/persistencetest"
)

// aliveWithin is how soon after the end of the faults everybody must write again.
const aliveWithin = 30 * time.Second

// finish lets the load come to rest and checks everything. The faults must be over. It returns how long it took until
// every node and every room wrote again, and the violations.
func (l *load) finish(ctx context.Context, store persistence.Backend) (time.Duration, []persistencetest.Violation, error) {
	close(l.stopIntruding)
	back := l.awaitWriters(ctx)
	l.stopWriting()
	l.writing.Wait()
	l.fenceAll(ctx)
	l.awaitConsumers(ctx, store)
	l.stopReading()
	l.reading.Wait()
	if err := finishDrop(ctx, store); err != nil {
		return back, nil, err
	}
	if err := l.compareStored(ctx, store); err != nil {
		return back, nil, err
	}
	found, err := l.history.Check(ctx, store, store)
	return back, append(l.witness.violations(), found...), err
}

// finishDrop finishes what the last fault may have interrupted: a drop raises the lanes' TrimPos, below which a feed gives
// nothing, before it trims the streams.
func finishDrop(ctx context.Context, store persistence.Backend) error {
	parts, err := store.Partitions(ctx)
	if err != nil {
		return fmt.Errorf("list partitions: %w", err)
	}
	for _, p := range parts {
		if !p.Current || p.Part == 0 {
			continue
		}
		if _, err := store.DropPartitions(ctx, p.Part-1); err != nil && !errors.Is(err, persistence.ErrBlocked) {
			return fmt.Errorf("finish a drop: %w", err)
		}
	}
	return nil
}

// abandon ends everything without a check.
func (l *load) abandon() {
	l.stopWriting()
	l.stopReading()
	l.writing.Wait()
	l.reading.Wait()
}

// awaitWriters waits until each node has written and each room was written to.
func (l *load) awaitWriters(ctx context.Context) time.Duration {
	healed := time.Now()
	ctx, cancel := l.witness.patience(ctx)
	defer cancel()
	before := make([]int, l.rooms)
	for i := range before {
		before[i] = l.witness.acks(l.room(i))
	}
	var group sync.WaitGroup
	for i := range l.nodes {
		n := l.at(i)
		a := l.activation(persistence.StreamKey("alive/"+n.name), n, l.random(uint64(7000+i)))
		a.rounds, a.pinned = 1, true
		group.Go(func() {
			a.live(ctx)
			if l.witness.acks(a.key) == 0 && !l.witness.failed() {
				l.witness.fail(alive, a.key, "%s did not write within %v after the faults", n.name, aliveWithin)
			}
		})
	}
	for i := range before {
		group.Go(func() { l.awaitRoom(ctx, i, before[i]) })
	}
	group.Wait()
	return time.Since(healed)
}

// awaitRoom waits until the room is written to again. After a while somebody wants something of it, which activates it: a
// claim that was made twice, since the answer to it was lost, may come late and fence the one that was answered, and then the
// room has no writer until it is wanted.
func (l *load) awaitRoom(ctx context.Context, i, before int) {
	wanted, patience := time.Now(), time.Second
	for l.witness.acks(l.room(i)) == before {
		if time.Since(wanted) > patience {
			// Less and less often, or each would fence the one before it where claims are slow.
			wanted, patience = time.Now(), 2*patience
			a := l.activation(l.room(i), l.at(i), l.random(uint64(8_000_000+i)))
			l.writing.Go(func() { a.live(ctx) })
		}
		if pause(ctx, 10*time.Millisecond) {
			continue
		}
		if !l.witness.failed() {
			l.witness.fail(alive, l.room(i), "nobody wrote within %v after the faults: %s", aliveWithin, l.witness.latest(l.room(i)))
		}
		return
	}
}

// fenceAll claims every stream once more: after that nothing can come any more of the appends that were given up.
func (l *load) fenceAll(ctx context.Context) {
	ctx, cancel := l.witness.patience(ctx)
	defer cancel()
	var group sync.WaitGroup
	for i, key := range l.witness.keys() {
		a := l.activation(key, l.at(i), l.random(uint64(9_000_000+i)))
		group.Go(func() {
			if !a.take(ctx) && !l.witness.failed() {
				l.witness.fail(alive, key, "it could not be claimed within %v in the end", aliveWithin)
			}
		})
	}
	group.Wait()
}

// awaitConsumers waits until the feed's consumers are at its end.
func (l *load) awaitConsumers(ctx context.Context, store persistence.Feed) {
	ctx, cancel := l.witness.patience(ctx)
	defer cancel()
	heads, err := store.Lanes(ctx)
	if err != nil && ctx.Err() == nil {
		l.witness.fail(alive, "", "lanes after the faults: %v", err)
	}
	for i, head := range heads {
		for l.lanes[i].place() < head.Pos {
			if pause(ctx, 5*time.Millisecond) {
				continue
			}
			if !l.witness.failed() {
				l.witness.fail(alive, "", "the consumers of lane %d came to %d within %v, its end is %d", head.Lane, l.lanes[i].place(), aliveWithin, head.Pos)
			}
			break
		}
	}
}

// compareStored shows the witness what every stream has in the end, and checks that all of what it knows went through the
// feed.
func (l *load) compareStored(ctx context.Context, store persistence.Journal) error {
	for _, key := range l.witness.keys() {
		at := l.witness.floor(key)
		head, err := store.Head(ctx, key)
		if err != nil {
			return fmt.Errorf("compare %s: %w", key, err)
		}
		head.Key = key
		l.witness.head("the end", head, at)
		for from := head.TrimSeq + 1; from <= head.LastSeq; {
			events, err := store.Read(ctx, key, from, persistence.MaxRead)
			if err != nil {
				return fmt.Errorf("compare %s: %w", key, err)
			}
			if len(events) == 0 {
				break // the History says so
			}
			l.witness.saw("the end", key, events)
			from = events[len(events)-1].Seq + 1
		}
	}
	if l.witness.failed() {
		return nil // the consumers were not waited for
	}
	for _, key := range l.witness.keys() {
		l.witness.mustBeFed(key)
	}
	return nil
}

// patience bounds the waiting for everybody to write again. It ends at the first violation: what breaks one invariant may
// well leave a room without a writer.
func (w *witness) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, aliveWithin)
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		select {
		case <-w.first:
			cancel()
		case <-stop:
		}
	})
	return ctx, sync.OnceFunc(func() {
		close(stop)
		group.Wait()
		cancel()
	})
}

// keys are the streams that were spoken of.
func (w *witness) keys() []persistence.StreamKey {
	w.mu.Lock()
	defer w.mu.Unlock()
	var keys []persistence.StreamKey
	for key := range w.streams {
		keys = append(keys, key)
	}
	return keys
}

// mustBeFed checks that every event that anybody has seen was given to a consumer of the feed, trimmed or not.
func (w *witness) mustBeFed(key persistence.StreamKey) {
	t := w.stream(key)
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, e := range t.events {
		if !e.known {
			w.fail(stays, key, "event %d was seen by nobody, event %d was", i+1, len(t.events))
		} else if !e.fed {
			w.fail(delivered, key, "event %d, %x of epoch %d, was not given to the consumers of the feed", i+1, e.id, e.epoch)
		}
	}
}
