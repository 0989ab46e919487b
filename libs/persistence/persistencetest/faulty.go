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
	OpReincarnate           Op = "Reincarnate"
	OpTakeovers             Op = "Takeovers"
	OpLanes                 Op = "Lanes"
	OpReadLane              Op = "ReadLane"
	OpClaimCheckpoint       Op = "ClaimCheckpoint"
	OpSaveCheckpoint        Op = "SaveCheckpoint"
	OpDeleteCheckpoint      Op = "DeleteCheckpoint"
	OpCheckpoints           Op = "Checkpoints"
	OpRotate                Op = "Rotate"
	OpPartitions            Op = "Partitions"
	OpDropPartitions        Op = "DropPartitions"
	OpMarkRestored          Op = "MarkRestored"
	OpCreateSession         Op = "CreateSession"
	OpResumeSession         Op = "ResumeSession"
	OpSaveSessionRooms      Op = "SaveSessionRooms"
	OpExtendSessions        Op = "ExtendSessions"
	OpLostSessions          Op = "LostSessions"
	OpDeleteExpiredSessions Op = "DeleteExpiredSessions"
	OpAcquireLease          Op = "AcquireLease"
	OpRenewLease            Op = "RenewLease"
	OpReleaseLease          Op = "ReleaseLease"
	OpBlockMember           Op = "BlockMember"
	OpUnblockMember         Op = "UnblockMember"
	OpBlockOf               Op = "BlockOf"
	OpListBlocks            Op = "ListBlocks"
	OpBlocksSince           Op = "BlocksSince"
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
