package room

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/tochemey/goakt/v4/actor"
	"golang.org/x/sync/errgroup"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/names"
	"github.com/parley-rt/parley/services/rooms/internal/room/core"
)

// roster is the room's memberships: one stream per shard of core.ShardMemberships sessions. A session stays in the shard
// where it was first put. Shard 0 is members/<room>, shard n is members/<room>/<n>; shards are opened in order and never
// closed, so the first key that was never claimed is the end.
type roster struct {
	room   *Room
	shards []*shard
	// Where sessions in flight go: a second operation of one must follow the first into its shard.
	placing map[core.SessionKey]placement
	// While a further shard is opened, changes that need it wait.
	opening bool
	waiting []*change
}

type shard struct {
	stream *actorkit.Persistent[*core.Members, *change, core.Changed]
	// Changes submitted and not answered.
	pending int
}

type placement struct{ shard, pending int }

// change is a join or a leave on its way into the journal, or the end of several memberships.
type change struct {
	core.Change
	in    *Inbound
	shard int
	// Instead of the Change: sessions that joined as of a seq below before are taken out. Nobody waits for an answer.
	evicted []core.SessionKey
	before  uint64
	out     []core.SessionKey // what became of it
}

// shardOpened reports on a further shard.
type shardOpened struct {
	shard *shard
	err   error
}

func newRoster(r *Room) roster {
	return roster{room: r, placing: make(map[core.SessionKey]placement)}
}

// shardKey returns the key of a shard's stream.
func shardKey(roomID string, n int) persistence.StreamKey {
	key := names.MembersStream(roomID)
	if n > 0 {
		key += "/" + strconv.Itoa(n)
	}
	return persistence.StreamKey(key)
}

// recover claims all shards there are; of a room that was handed over, those that its writer held.
func (t *roster) recover(ctx context.Context, warm *Warm) error {
	if epochs := t.room.start.MembersEpochs; epochs != nil {
		return t.recoverGiven(ctx, epochs, warm)
	}
	for n := 0; ; n++ {
		if n > 0 {
			more, err := hasShard(ctx, t.room.env.Journal, t.room.id, n)
			if err != nil || !more {
				return err
			}
		}
		s := t.newShard(n, nil)
		t.shards = append(t.shards, s)
		if _, err := s.stream.RecoverFrom(ctx, warm.shard(n)); err != nil {
			return fmt.Errorf("recover members shard %d: %w", n, err)
		}
	}
}

func (t *roster) recoverGiven(ctx context.Context, epochs []uint64, warm *Warm) error {
	t.shards = make([]*shard, len(epochs))
	g, ctx := errgroup.WithContext(ctx)
	for n, epoch := range epochs {
		s := t.newShard(n, persistence.GuardEpoch{Epoch: epoch})
		t.shards[n] = s
		g.Go(guarded(ctx, func(ctx context.Context) error {
			if _, err := s.stream.RecoverFrom(ctx, warm.shard(n)); err != nil {
				return fmt.Errorf("recover members shard %d: %w", n, err)
			}
			return nil
		}))
	}
	return g.Wait()
}

// epochs returns what the claims of the shards are, in their order.
func (t *roster) epochs() []uint64 {
	epochs := make([]uint64, len(t.shards))
	for n, s := range t.shards {
		epochs[n] = s.stream.Claim().Epoch
	}
	return epochs
}

// weight returns about how many bytes the memberships take in memory.
func (t *roster) weight() int {
	weight := 0
	for _, s := range t.shards {
		weight += s.stream.State().Weight()
	}
	return weight
}

func (t *roster) newShard(n int, guard persistence.Guard) *shard {
	return &shard{stream: actorkit.NewPersistent(actorkit.PersistentConfig{
		Key:           shardKey(t.room.id, n),
		Owner:         t.room.env.Node,
		Journal:       t.room.env.Journal,
		Claim:         persistence.ClaimOptions{Guard: guard},
		Logger:        t.room.logger,
		CommitTimeout: t.room.env.Limits.CommitTimeout,
		Now:           t.room.env.Now,
	}, membersBehavior{}, actorkit.PersistentHandler[*change, core.Changed]{
		Committed: t.committed,
		Failed:    t.failed,
	})}
}

// receive handles the streams' own messages.
func (t *roster) receive(rctx *actor.ReceiveContext) bool {
	for _, s := range t.shards {
		if s.stream.Receive(rctx) {
			return true
		}
	}
	return false
}

func (t *roster) stopped() error {
	for _, s := range t.shards {
		if err := s.stream.Stopped(); err != nil {
			return err
		}
	}
	return nil
}

func (t *roster) busy() bool {
	for _, s := range t.shards {
		if s.stream.Busy() {
			return true
		}
	}
	return false
}

// Seated implements core.Seats.
func (t *roster) Seated(member string, after uint64) bool {
	for _, s := range t.shards {
		if s.stream.State().Seated(member, after) {
			return true
		}
	}
	return false
}

// Seat returns the member's place, of its sessions that joined as of a seq of at least after.
func (t *roster) Seat(member string, after uint64) core.Seat {
	var seat core.Seat
	for _, s := range t.shards {
		seat = s.stream.State().Seat(seat, member, after)
	}
	return seat
}

// members goes through the room's members until yield returns false, in no order. One whose sessions are in several shards
// comes several times.
func (t *roster) members(yield func(member string) bool) {
	for _, s := range t.shards {
		for member := range s.stream.State().All {
			if !yield(member) {
				return
			}
		}
	}
}

// count returns the number of members.
func (t *roster) count() int {
	if len(t.shards) == 1 {
		return t.shards[0].stream.State().Count()
	}
	all := make(map[string]struct{})
	for member := range t.members {
		all[member] = struct{}{}
	}
	return len(all)
}

// evict takes sessions of one shard out of the room that joined as of a seq below before. What cannot be stored now is tried
// again by a sweep.
func (t *roster) evict(rctx *actor.ReceiveContext, n int, keys []core.SessionKey, before uint64) {
	for len(keys) > 0 {
		few := keys[:min(len(keys), evictSessions)]
		keys = keys[len(few):]
		if err := t.shards[n].stream.Submit(rctx, &change{evicted: few, before: before}, evictedBytes*len(few)); err != nil {
			if stopped := t.shards[n].stream.Stopped(); stopped != nil {
				t.room.die(rctx, stopped)
				return
			}
			t.room.sweepLater()
			return
		}
	}
}

// evictedBytes is about what the end of a membership weighs.
const evictedBytes = 128

// submit sends a change to the shard that knows the session, else to the first that has room.
func (t *roster) submit(rctx *actor.ReceiveContext, c *change) {
	n, ok := t.place(c.SessionKey)
	if !ok {
		if len(t.waiting) >= t.room.env.Limits.ShardQueue {
			t.room.refuse(c.in, clientv1.ErrorCode_ERROR_CODE_BUSY, "too many members are joining the room", busyRetryAfter)
			return
		}
		t.waiting = append(t.waiting, c)
		t.open(rctx)
		return
	}
	s := t.shards[n]
	if err := s.stream.Submit(rctx, c, c.in.bytes); err != nil {
		if stopped := s.stream.Stopped(); stopped != nil {
			t.room.die(rctx, stopped)
			t.room.moved(c.in)
			return
		}
		t.room.refuse(c.in, clientv1.ErrorCode_ERROR_CODE_BUSY, "too many members are joining the room", busyRetryAfter)
		return
	}
	c.shard = n
	s.pending++
	t.placing[c.SessionKey] = placement{shard: n, pending: t.placing[c.SessionKey].pending + 1}
}

func (t *roster) place(k core.SessionKey) (int, bool) {
	if p, ok := t.placing[k]; ok {
		return p.shard, true
	}
	for n, s := range t.shards {
		if s.stream.State().Knows(k) {
			return n, true
		}
	}
	for n, s := range t.shards {
		if !s.stream.State().Full(s.pending) {
			return n, true
		}
	}
	return 0, false
}

// answered takes a change out of the count of those in flight.
func (t *roster) answered(c *change) {
	t.shards[c.shard].pending--
	p := t.placing[c.SessionKey]
	if p.pending--; p.pending == 0 {
		delete(t.placing, c.SessionKey)
		return
	}
	t.placing[c.SessionKey] = p
}

func (t *roster) committed(rctx *actor.ReceiveContext, batch []actorkit.Decided[*change, core.Changed]) {
	t.noteComings(batch)
	for _, d := range batch {
		c := d.Command
		if c.evicted != nil {
			continue
		}
		t.answered(c)
		// A join that finds a membership which a kick has ended is not heard: the same one lets the member in anew once that
		// is gone.
		if !d.Reply.Stored && !d.Reply.Stale && (c.Leave || t.Seated(c.Member, t.room.stream.State().Kicked(c.Member))) {
			t.shards[c.shard].stream.State().Heard(c.SessionKey, c.Operation)
		}
		t.room.changed(rctx, c, d.Reply)
	}
}

func (t *roster) failed(rctx *actor.ReceiveContext, cmds []*change, err error) {
	terminal := t.stopped() != nil
	if terminal {
		t.room.die(rctx, err)
	}
	for _, c := range cmds {
		if c.evicted != nil {
			t.room.sweepLater()
			continue
		}
		t.answered(c)
		if terminal {
			t.room.moved(c.in)
			continue
		}
		code, retryAfter := refusalOf(err)
		t.room.refuse(c.in, code, "the membership could not be stored", retryAfter)
	}
}

// open claims the next shard in a task.
func (t *roster) open(rctx *actor.ReceiveContext) {
	if t.opening {
		return
	}
	t.opening = true
	s := t.newShard(len(t.shards), nil)
	t.room.task(rctx, func(ctx context.Context) any {
		return &shardOpened{shard: s, err: s.stream.Recover(ctx)}
	}, func(err error) any { return &shardOpened{err: err} })
}

func (t *roster) opened(rctx *actor.ReceiveContext, m *shardOpened) {
	t.room.tasks--
	t.opening = false
	if m.err == nil {
		t.shards = append(t.shards, m.shard)
	}
	waiting := t.waiting
	t.waiting = nil
	for _, c := range waiting {
		switch {
		case t.room.dead != nil:
			t.room.moved(c.in)
		case m.err != nil:
			code, retryAfter := refusalOf(m.err)
			t.room.refuse(c.in, code, "the membership could not be stored", retryAfter)
		default:
			t.submit(rctx, c)
		}
	}
}

// membersBehavior adapts core.Members to actorkit.Persistent.
type membersBehavior struct{}

func (membersBehavior) Zero(persistence.Claim) *core.Members { return core.NewMembers() }

func (membersBehavior) Apply(m *core.Members, e persistence.Event) (*core.Members, error) {
	return m, m.Apply(e)
}

func (membersBehavior) Draft(m *core.Members) actorkit.Draft[*change, core.Changed] {
	return membersDraft{m.Draft()}
}

func (membersBehavior) Snapshot(m *core.Members) (persistence.Snapshot, error) { return m.Snapshot() }

func (membersBehavior) Restore(_ persistence.Claim, snap persistence.Snapshot) (*core.Members, error) {
	return core.RestoreMembers(snap)
}

type membersDraft struct{ draft *core.MembersDraft }

func (d membersDraft) Decide(c *change, _ uint64, now time.Time) ([]persistence.Event, core.Changed) {
	if c.evicted != nil {
		var events []persistence.Event
		events, c.out = d.draft.Evict(c.evicted, c.before, now)
		return events, core.Changed{}
	}
	return d.draft.Change(c.Change, now)
}
