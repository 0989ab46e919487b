package member

import (
	"context"
	"fmt"
	"math/bits"
	"runtime"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/protocol/names"
)

// shardsEach is how many shards there are for each processor. As many turns are taken at once as there are processors; more shards than
// that keep a long turn of one member from holding up many others, and cost: messages of many members to one shard wake it once.
const shardsEach = 2

// Shard is the actor that takes the turns of a share of the connections, those with the same number modulo the number of shards: one
// actor for each connection would cost each of them its memory, and the opening its start. A member's turns are one at a time, because
// a shard's are. None of them blocks; what takes time is a task beside it.
type Shard struct {
	d      *Deps
	number int
}

// PreStart implements actor.Actor.
func (s *Shard) PreStart(*actor.Context) error { return nil }

// PostStop implements actor.Actor. It may run beside Receive, so it touches only what is safe for that: usually everything is over by
// now, and when the system stops first, so does what the connections were attached to.
func (s *Shard) PostStop(*actor.Context) error {
	s.d.Registry.stop(s.number, len(s.d.shards))
	if s.d.ShardEnded != nil {
		s.d.ShardEnded()
	}
	return nil
}

// Receive implements actor.Actor.
func (s *Shard) Receive(rctx *actor.ReceiveContext) {
	switch m := rctx.Message().(type) {
	case message:
		m.member().take(s.d.Now(), m)
	case *actor.PostStart:
	default:
		rctx.Unhandled()
	}
}

// shardCount is a power of two that is not more than the registry has parts, so that each of those is one shard's.
func shardCount(processors int) int {
	return min(1<<bits.Len(uint(shardsEach*processors-1)), registryShards)
}

// startShards starts the shards; they stop with the system.
func (d *Deps) startShards(ctx context.Context) error {
	d.shards = make([]*actor.PID, shardCount(runtime.GOMAXPROCS(0)))
	for i := range d.shards {
		pid, err := d.System.Spawn(ctx, fmt.Sprintf("%s-%d", names.Members, i), &Shard{d: d, number: i}, actorkit.SpawnOptions()...)
		if err != nil {
			return fmt.Errorf("start shard %d of members: %w", i, err)
		}
		d.shards[i] = pid
	}
	return nil
}

// tell gives a member a message. It fails only when the system has stopped.
func (m *Member) tell(msg message) bool {
	return actor.Tell(context.Background(), m.d.shards[m.shard()], msg) == nil
}

func (m *Member) shard() int { return int(m.number % uint64(len(m.d.shards))) }

// message is what a Shard gets: one member's next turn.
type message interface{ member() *Member }

// to is the part of a message that says whose it is.
type to struct{ m *Member }

func (t to) member() *Member { return t.m }
