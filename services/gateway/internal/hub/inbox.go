package hub

import (
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/parley-rt/parley/libs/actorkit"
)

// inbox bounds the messages, signals and comings that wait in a shard's mailbox: rooms nodes push them at a pace of their own.
// Everything else in a mailbox is bounded by what this node has: connections, rooms, and answers to its questions.
//
// Beyond the bound a Deliver is dropped and its room marked as lost. The shard, once it gets there, subscribes anew, and
// the connections read what they miss by pages, at a pace of ours. The others are dropped for good: they promise nothing.
// Safe for concurrent use.
type inbox struct {
	limit   int64
	waiting atomic.Int64 // bytes

	mu   sync.Mutex
	lost map[string]string // room → the node whose Deliver was dropped; nil: none since the last take
}

// frameCost is about what a waiting frame takes beside its parts.
const frameCost = 256

// admit says what a frame counts for until release, and whether it may wait. For a dropped Deliver, tell says that the
// shard is to be told to take the lost rooms: the first since it last did.
func (b *inbox) admit(f actorkit.Frame, from string) (weight int64, ok, tell bool) {
	room, kind := pushed(f.Body)
	if kind == 0 {
		return 0, true, false
	}
	weight = int64(f.Memory()) + frameCost
	if before := b.waiting.Add(weight) - weight; before < b.limit {
		return weight, true, false
	}
	b.waiting.Add(-weight)
	if kind != kindDeliver {
		return 0, false, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if tell = b.lost == nil; tell {
		b.lost = map[string]string{}
	}
	b.lost[string(room)] = from
	return 0, false, tell
}

// release says that the shard took a frame.
func (b *inbox) release(weight int64) {
	if weight != 0 {
		b.waiting.Add(-weight)
	}
}

// take returns the rooms that lost something.
func (b *inbox) take() map[string]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	lost := b.lost
	b.lost = nil
	return lost
}

// Fields of an encoded roomv1.Frame.
const (
	fieldRoom          protowire.Number = 1
	kindDeliver        protowire.Number = 46
	kindSignalled      protowire.Number = 47
	kindMembersChanged protowire.Number = 53
)

// pushed returns the room and kind of a frame that nobody here asked for, without decoding it; kind 0: another frame.
func pushed(body []byte) (room []byte, kind protowire.Number) {
	for len(body) > 0 {
		num, typ, n := protowire.ConsumeTag(body)
		if n < 0 {
			return nil, 0 // it is decoded and refused in the shard
		}
		body = body[n:]
		switch {
		case num == fieldRoom && typ == protowire.BytesType:
			room, n = protowire.ConsumeBytes(body)
		default:
			if num == kindDeliver || num == kindSignalled || num == kindMembersChanged {
				kind = num
			}
			n = protowire.ConsumeFieldValue(num, typ, body)
		}
		if n < 0 {
			return nil, 0
		}
		body = body[n:]
	}
	return room, kind
}
