package persistencetest

import (
	"context"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

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

func (f *faulty) Reincarnate(ctx context.Context, c persistence.Claim) (persistence.Claim, error) {
	return answer(ctx, f, OpReincarnate, c.Key, func() (persistence.Claim, error) { return f.b.Reincarnate(ctx, c) })
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

func (f *faulty) Lanes(ctx context.Context) ([]persistence.LaneHead, error) {
	return answer(ctx, f, OpLanes, "", func() ([]persistence.LaneHead, error) { return f.b.Lanes(ctx) })
}

func (f *faulty) ReadLane(ctx context.Context, lane int16, after uint64, limit int) ([]persistence.FeedEvent, uint64, error) {
	var next uint64
	events, err := answer(ctx, f, OpReadLane, "", func() (events []persistence.FeedEvent, err error) {
		events, next, err = f.b.ReadLane(ctx, lane, after, limit)
		return events, err
	})
	if err != nil {
		return nil, after, err
	}
	return events, next, nil
}

func (f *faulty) ClaimCheckpoint(ctx context.Context, name string, lane int16, owner string) (persistence.Checkpoint, error) {
	return answer(ctx, f, OpClaimCheckpoint, "", func() (persistence.Checkpoint, error) {
		return f.b.ClaimCheckpoint(ctx, name, lane, owner)
	})
}

func (f *faulty) SaveCheckpoint(ctx context.Context, c persistence.Checkpoint, pos uint64) error {
	return f.plan.run(ctx, OpSaveCheckpoint, "", func() error { return f.b.SaveCheckpoint(ctx, c, pos) })
}

func (f *faulty) DeleteCheckpoint(ctx context.Context, name string) error {
	return f.plan.run(ctx, OpDeleteCheckpoint, "", func() error { return f.b.DeleteCheckpoint(ctx, name) })
}

func (f *faulty) Checkpoints(ctx context.Context) ([]persistence.Checkpoint, error) {
	return answer(ctx, f, OpCheckpoints, "", func() ([]persistence.Checkpoint, error) { return f.b.Checkpoints(ctx) })
}

func (f *faulty) Rotate(ctx context.Context, part int32) error {
	return f.plan.run(ctx, OpRotate, "", func() error { return f.b.Rotate(ctx, part) })
}

func (f *faulty) Partitions(ctx context.Context) ([]persistence.Partition, error) {
	return answer(ctx, f, OpPartitions, "", func() ([]persistence.Partition, error) { return f.b.Partitions(ctx) })
}

func (f *faulty) DropPartitions(ctx context.Context, upTo int32) (dropped []int32, err error) {
	err = f.plan.run(ctx, OpDropPartitions, "", func() (err error) {
		dropped, err = f.b.DropPartitions(ctx, upTo)
		return err
	})
	return dropped, err // those dropped before a blocked one are told with the error
}

func (f *faulty) MarkRestored(ctx context.Context) (int64, error) {
	return answer(ctx, f, OpMarkRestored, "", func() (int64, error) { return f.b.MarkRestored(ctx) })
}

func (f *faulty) CreateSession(ctx context.Context, id persistence.SessionID, tok persistence.TokenHash, member string, ttl time.Duration) (persistence.Session, error) {
	return answer(ctx, f, OpCreateSession, "", func() (persistence.Session, error) {
		return f.b.CreateSession(ctx, id, tok, member, ttl)
	})
}

func (f *faulty) ResumeSession(ctx context.Context, id persistence.SessionID, presented, next persistence.TokenHash, attempt uint64, ttl time.Duration) (persistence.Session, error) {
	return answer(ctx, f, OpResumeSession, "", func() (persistence.Session, error) {
		return f.b.ResumeSession(ctx, id, presented, next, attempt, ttl)
	})
}

func (f *faulty) SaveSessionRooms(ctx context.Context, id persistence.SessionID, generation uint64, rooms []string, ttl time.Duration) error {
	return f.plan.run(ctx, OpSaveSessionRooms, "", func() error { return f.b.SaveSessionRooms(ctx, id, generation, rooms, ttl) })
}

func (f *faulty) ExtendSessions(ctx context.Context, ids []persistence.SessionID, ttl time.Duration) error {
	return f.plan.run(ctx, OpExtendSessions, "", func() error { return f.b.ExtendSessions(ctx, ids, ttl) })
}

func (f *faulty) LostSessions(ctx context.Context, held []persistence.HeldSession) ([]persistence.HeldSession, error) {
	return answer(ctx, f, OpLostSessions, "", func() ([]persistence.HeldSession, error) { return f.b.LostSessions(ctx, held) })
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

func (f *faulty) BlockMember(ctx context.Context, member string, lasting time.Duration, reason, by string) (persistence.Block, error) {
	return answer(ctx, f, OpBlockMember, "", func() (persistence.Block, error) { return f.b.BlockMember(ctx, member, lasting, reason, by) })
}

func (f *faulty) UnblockMember(ctx context.Context, member string) (bool, error) {
	return answer(ctx, f, OpUnblockMember, "", func() (bool, error) { return f.b.UnblockMember(ctx, member) })
}

func (f *faulty) BlockOf(ctx context.Context, member string) (*persistence.Block, error) {
	return answer(ctx, f, OpBlockOf, "", func() (*persistence.Block, error) { return f.b.BlockOf(ctx, member) })
}

func (f *faulty) ListBlocks(ctx context.Context, after string, limit int) ([]persistence.Block, error) {
	return answer(ctx, f, OpListBlocks, "", func() ([]persistence.Block, error) { return f.b.ListBlocks(ctx, after, limit) })
}

func (f *faulty) BlocksSince(ctx context.Context, since uint64, limit int) ([]persistence.Block, uint64, error) {
	var newest uint64
	blocks, err := answer(ctx, f, OpBlocksSince, "", func() (blocks []persistence.Block, err error) {
		blocks, newest, err = f.b.BlocksSince(ctx, since, limit)
		return blocks, err
	})
	return blocks, newest, err
}

func (f *faulty) Ping(ctx context.Context) error {
	return f.plan.run(ctx, OpPing, "", func() error { return f.b.Ping(ctx) })
}

func (f *faulty) Close(ctx context.Context) error { return f.b.Close(ctx) }
