package hub

import (
	"testing"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/gateway/internal/ws"
)

// taker is a connection that takes everything.
type taker struct{ codec codec.Codec }

func (s taker) Codec() codec.Codec                          { return s.codec }
func (taker) Send([]byte) bool                              { return true }
func (taker) SendAll([][]byte) bool                         { return true }
func (taker) Offer(frames [][]byte, _ int, _ ws.Waiter) int { return len(frames) }
func (taker) CloseWith(clientv1.CloseCode)                  {}

// publishAllocs returns the allocations of one message's way to so many connections of each encoding.
func publishAllocs(connections int) float64 {
	cfg := Config{}.withDefaults()
	topic := NewTopic("r", &cfg, nil)
	for _, c := range []codec.Codec{codec.JSON{}, codec.Binary{}} {
		f := topic.fan(c)
		for range connections {
			f.golive(&sub{topic: topic, sink: taker{c}, fan: f})
		}
	}
	seq := uint64(0)
	return testing.AllocsPerRun(3*cfg.RingMessages, func() {
		seq++
		topic.publish([]*roomv1.Message{{Seq: seq, PrevSeq: seq - 1, Sender: "m", MessageId: "i", Content: "content"}})
	})
}

// A message costs what it costs to encode it; another connection costs no allocation.
func TestDeliveriesDoNotAllocate(t *testing.T) {
	one, many := publishAllocs(1), publishAllocs(1000)
	require.Equal(t, one, many, "allocations of a message with 1 and with 1,000 connections")
	require.LessOrEqual(t, many, 20.0)
}

// A ring that is full moves its messages once per as many as it holds.
func TestFullRingRarelyMoves(t *testing.T) {
	const held = 1024
	r, seqs, frames := ring{}, []uint64{0}, [][]byte{[]byte("frame")}
	add := func() {
		seqs[0]++
		r.append(seqs, frames, held, 1<<20)
	}
	for range 2 * held {
		add()
	}
	moves := 0
	before := &r.seqs[:cap(r.seqs)][cap(r.seqs)-1]
	for range 8 * held {
		add()
		if end := &r.seqs[:cap(r.seqs)][cap(r.seqs)-1]; end != before {
			before = end
			moves++
		}
	}
	require.LessOrEqual(t, moves, 9)
	require.Len(t, r.seqs, held)
	require.Equal(t, seqs[0]-held, r.base)
}
