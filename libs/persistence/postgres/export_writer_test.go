package postgres

import (
	"context"
	"fmt"

	"github.com/parley-rt/parley/libs/persistence"
)

// TogetherAppend is one append of StoreTogether.
type TogetherAppend struct {
	Claim    persistence.Claim
	Expected uint64
	Events   []persistence.Event
}

// StoreTogether stores the appends in one transaction, as a writer does that took them all at once, and returns what each
// is answered.
func (b *Backend) StoreTogether(appends ...TogetherAppend) ([]error, error) {
	w := &writer{b: b, enc: newAppendEncoder(len(b.lanes.all))}
	defer w.disconnect()
	requests := make([]*request, len(appends))
	for i, in := range appends {
		a := &appendRequest{claim: in.Claim, expected: in.Expected, batch: in.Events}
		a.request = request{append: a, events: len(in.Events)}
		a.Expect()
		a.lane, _ = b.lanes.index(in.Claim.Lane)
		requests[i] = &a.request
	}
	requests = w.enc.encode(requests, b.lanes.all)
	lost, err := w.attempt(lastAttempt)
	if err != nil {
		return nil, err
	}
	w.settle(requests, lost, false)
	errs := make([]error, len(requests))
	for i, r := range requests {
		<-r.Done()
		errs[i] = r.Err()
	}
	return errs, nil
}

// WriterSettings is what the server has for a connection that writes.
func (b *Backend) WriterSettings(ctx context.Context, names ...string) (map[string]string, error) {
	c, err := b.connectWriter(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	defer c.abort()
	settings := map[string]string{}
	for _, name := range names {
		var value string
		if err := c.QueryRow(ctx, "SELECT current_setting($1)", name).Scan(&value); err != nil {
			return nil, fmt.Errorf("setting %s: %w", name, err)
		}
		settings[name] = value
	}
	return settings, nil
}

// QueuedSessions is how many changes of sessions wait for the one under way.
func (b *Backend) QueuedSessions() int {
	b.sessions.mu.Lock()
	defer b.sessions.mu.Unlock()
	return len(b.sessions.queue)
}
