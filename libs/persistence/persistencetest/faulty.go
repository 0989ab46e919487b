package persistencetest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// Op names a method of a backend.
type Op string

// The methods that a Fault can hit.
const (
	OpClaim                 Op = "Claim"
	OpRelease               Op = "Release"
	OpRecover               Op = "Recover"
	OpAppend                Op = "Append"
	OpRead                  Op = "Read"
	OpReadReverse           Op = "ReadReverse"
	OpHead                  Op = "Head"
	OpSaveSnapshot          Op = "SaveSnapshot"
	OpTrim                  Op = "Trim"
	OpTakeovers             Op = "Takeovers"
	OpCreateSession         Op = "CreateSession"
	OpResumeSession         Op = "ResumeSession"
	OpSaveSessionRooms      Op = "SaveSessionRooms"
	OpExtendSessions        Op = "ExtendSessions"
	OpDeleteExpiredSessions Op = "DeleteExpiredSessions"
	OpAcquireLease          Op = "AcquireLease"
	OpRenewLease            Op = "RenewLease"
	OpReleaseLease          Op = "ReleaseLease"
	OpPing                  Op = "Ping"
)

// Fault is what goes wrong with a call. What it does happens before the call reaches the backend, or with Late after it
// came back: Fault{Op: OpAppend, Late: true, Err: persistence.ErrUnknown} is a lost acknowledgement.
type Fault struct {
	Op Op
	// Key limits the fault to a stream; empty: any, and methods without a stream.
	Key persistence.StreamKey
	// Times is how many calls it hits; 0 is one, negative is all.
	Times int
	// Late: the call is made first.
	Late bool
	// Reached is told that a call is at the fault, before anything of the following. It must not block.
	Reached func()
	// Delay and Block (until it is closed) hold the call. When its context ends meanwhile, it returns ErrUnavailable, or
	// with Late ErrUnknown, as a real backend does.
	Delay time.Duration
	Block <-chan struct{}
	// Err is returned, without Late instead of the call. Nil: the call goes on.
	Err error
}

// Plan holds the faults to come and counts calls. Safe for concurrent use.
type Plan struct {
	mu     sync.Mutex
	faults []*Fault
	calls  map[Op]int
}

// NewPlan makes a plan of these faults; the first that fits a call hits it.
func NewPlan(faults ...Fault) *Plan {
	p := &Plan{calls: map[Op]int{}}
	p.Add(faults...)
	return p
}

// Add puts faults after those there are.
func (p *Plan) Add(faults ...Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range faults {
		if f.Times == 0 {
			f.Times = 1
		}
		p.faults = append(p.faults, &f)
	}
}

// Clear drops the faults that were not reached.
func (p *Plan) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = nil
}

// Calls is how often a method was called, faults included.
func (p *Plan) Calls(op Op) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[op]
}

// take counts the call and returns the fault that hits it.
func (p *Plan) take(op Op, key persistence.StreamKey) (Fault, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls[op]++
	for i, f := range p.faults {
		if f.Op != op || f.Key != "" && f.Key != key {
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				p.faults = append(p.faults[:i:i], p.faults[i+1:]...)
			}
		}
		return *f, true
	}
	return Fault{}, false
}

// run makes the call with what the plan has for it.
func (p *Plan) run(ctx context.Context, op Op, key persistence.StreamKey, call func() error) error {
	f, hit := p.take(op, key)
	if !hit {
		return call()
	}
	if f.Late {
		if err := call(); err != nil {
			return err
		}
		return f.happen(ctx, persistence.ErrUnknown)
	}
	if err := f.happen(ctx, persistence.ErrUnavailable); err != nil {
		return err
	}
	return call()
}

// happen holds the call and returns the fault's error; interrupted is its kind when the context ends.
func (f Fault) happen(ctx context.Context, interrupted error) error {
	if f.Reached != nil {
		f.Reached()
	}
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		if !received(ctx, timer.C) {
			return f.interrupted(ctx, interrupted)
		}
	}
	if f.Block != nil && !received(ctx, f.Block) {
		return f.interrupted(ctx, interrupted)
	}
	if f.Err != nil {
		return fmt.Errorf("%s hit by a fault: %w", f.Op, f.Err)
	}
	return nil
}

func (f Fault) interrupted(ctx context.Context, err error) error {
	return fmt.Errorf("%s held by a fault: %w: %w", f.Op, err, ctx.Err())
}

func received[T any](ctx context.Context, c <-chan T) bool {
	select {
	case <-c:
		return true
	case <-ctx.Done():
		return false
	}
}

// Faulty returns b with the plan's faults. Close is b's own.
func Faulty(b persistence.Backend, p *Plan) persistence.Backend { return &faulty{b: b, plan: p} }

type faulty struct {
	b    persistence.Backend
	plan *Plan
}

// answer makes a call that has a result; a call that a fault hits has none.
func answer[T any](ctx context.Context, f *faulty, op Op, key persistence.StreamKey, call func() (T, error)) (T, error) {
	var out T
	if err := f.plan.run(ctx, op, key, func() (err error) {
		out, err = call()
		return err
	}); err != nil {
		var none T
		return none, err
	}
	return out, nil
}

func (f *faulty) Claim(ctx context.Context, key persistence.StreamKey, owner string, opts persistence.ClaimOptions) (persistence.Claim, error) {
	return answer(ctx, f, OpClaim, key, func() (persistence.Claim, error) { return f.b.Claim(ctx, key, owner, opts) })
}

func (f *faulty) Release(ctx context.Context, c persistence.Claim) error {
	return f.plan.run(ctx, OpRelease, c.Key, func() error { return f.b.Release(ctx, c) })
}

func (f *faulty) Recover(ctx context.Context, c persistence.Claim) (persistence.Recovery, error) {
	return answer(ctx, f, OpRecover, c.Key, func() (persistence.Recovery, error) { return f.b.Recover(ctx, c) })
}

func (f *faulty) Append(ctx context.Context, c persistence.Claim, expected uint64, events []persistence.Event) (uint64, error) {
	return answer(ctx, f, OpAppend, c.Key, func() (uint64, error) { return f.b.Append(ctx, c, expected, events) })
}

func (f *faulty) Read(ctx context.Context, key persistence.StreamKey, from uint64, limit int) ([]persistence.Event, error) {
	return answer(ctx, f, OpRead, key, func() ([]persistence.Event, error) { return f.b.Read(ctx, key, from, limit) })
}

func (f *faulty) ReadReverse(ctx context.Context, key persistence.StreamKey, before uint64, limit int) ([]persistence.Event, error) {
	return answer(ctx, f, OpReadReverse, key, func() ([]persistence.Event, error) { return f.b.ReadReverse(ctx, key, before, limit) })
}

func (f *faulty) Head(ctx context.Context, key persistence.StreamKey) (persistence.Head, error) {
	return answer(ctx, f, OpHead, key, func() (persistence.Head, error) { return f.b.Head(ctx, key) })
}

func (f *faulty) SaveSnapshot(ctx context.Context, c persistence.Claim, s persistence.Snapshot) error {
	return f.plan.run(ctx, OpSaveSnapshot, c.Key, func() error { return f.b.SaveSnapshot(ctx, c, s) })
}

func (f *faulty) Trim(ctx context.Context, c persistence.Claim, upTo uint64) error {
	return f.plan.run(ctx, OpTrim, c.Key, func() error { return f.b.Trim(ctx, c, upTo) })
}

func (f *faulty) Takeovers(ctx context.Context, owner string, since persistence.Mark) ([]persistence.Takeover, persistence.Mark, error) {
	var next persistence.Mark
	list, err := answer(ctx, f, OpTakeovers, "", func() (list []persistence.Takeover, err error) {
		list, next, err = f.b.Takeovers(ctx, owner, since)
		return list, err
	})
	if err != nil {
		return nil, since, err
	}
	return list, next, nil
}

func (f *faulty) CreateSession(ctx context.Context, id persistence.SessionID, tok persistence.TokenHash, member string, ttl time.Duration) (persistence.Session, error) {
	return answer(ctx, f, OpCreateSession, "", func() (persistence.Session, error) {
		return f.b.CreateSession(ctx, id, tok, member, ttl)
	})
}

func (f *faulty) ResumeSession(ctx context.Context, id persistence.SessionID, presented, next persistence.TokenHash, ttl time.Duration) (persistence.Session, error) {
	return answer(ctx, f, OpResumeSession, "", func() (persistence.Session, error) {
		return f.b.ResumeSession(ctx, id, presented, next, ttl)
	})
}

func (f *faulty) SaveSessionRooms(ctx context.Context, id persistence.SessionID, generation uint64, rooms []string, ttl time.Duration) error {
	return f.plan.run(ctx, OpSaveSessionRooms, "", func() error { return f.b.SaveSessionRooms(ctx, id, generation, rooms, ttl) })
}

func (f *faulty) ExtendSessions(ctx context.Context, ids []persistence.SessionID, ttl time.Duration) error {
	return f.plan.run(ctx, OpExtendSessions, "", func() error { return f.b.ExtendSessions(ctx, ids, ttl) })
}

func (f *faulty) DeleteExpiredSessions(ctx context.Context, limit int) ([]persistence.Session, error) {
	return answer(ctx, f, OpDeleteExpiredSessions, "", func() ([]persistence.Session, error) {
		return f.b.DeleteExpiredSessions(ctx, limit)
	})
}

func (f *faulty) AcquireLease(ctx context.Context, name, owner string, ttl time.Duration) (persistence.Lease, error) {
	return answer(ctx, f, OpAcquireLease, "", func() (persistence.Lease, error) {
		return f.b.AcquireLease(ctx, name, owner, ttl)
	})
}

func (f *faulty) RenewLease(ctx context.Context, l persistence.Lease, ttl time.Duration) (persistence.Lease, error) {
	return answer(ctx, f, OpRenewLease, "", func() (persistence.Lease, error) { return f.b.RenewLease(ctx, l, ttl) })
}

func (f *faulty) ReleaseLease(ctx context.Context, l persistence.Lease) error {
	return f.plan.run(ctx, OpReleaseLease, "", func() error { return f.b.ReleaseLease(ctx, l) })
}

func (f *faulty) Ping(ctx context.Context) error {
	return f.plan.run(ctx, OpPing, "", func() error { return f.b.Ping(ctx) })
}

func (f *faulty) Close(ctx context.Context) error { return f.b.Close(ctx) }
