package actorkit

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	linkv1 "github.com/parley-rt/parley/libs/protocol/link/v1"
)

// The queue and the reused message give back what was put in, in order, within the bounds of a batch.
func TestOutboxProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		box := outbox{limit: 20_000, batchBytes: 4_000}
		var b batch
		var want, got []Frame
		next := uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				for range rapid.IntRange(1, 40).Draw(t, "frames") {
					f := Frame{
						Body:        append(binary.BigEndian.AppendUint64(nil, next), make([]byte, rapid.IntRange(0, 600).Draw(t, "size"))...),
						Traceparent: rapid.SampledFrom([]string{"", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}).Draw(t, "trace"),
					}
					before := box.bytes
					if box.push(f) {
						want, next = append(want, f), next+1
						require.Equal(t, before+frameSize(f), box.bytes)
					} else {
						require.Greater(t, before+frameSize(f), box.limit)
					}
				}
			},
			"take": func(t *rapid.T) {
				bodies := box.take(&b)
				b.msg.Number = uint64(len(got) + 1)
				msg := b.seal()
				opts := proto.MarshalOptions{UseCachedSize: true} // As GoAkt does it.
				raw, err := opts.MarshalAppend(make([]byte, 0, opts.Size(msg)), msg)
				require.NoError(t, err)
				size, sum := 0, 0
				var m linkv1.Batch
				require.NoError(t, proto.Unmarshal(raw, &m))
				require.Equal(t, uint64(len(got)+1), m.GetNumber())
				for _, f := range m.GetFrames() {
					fr := Frame{Body: f.GetBody(), Traceparent: f.GetTraceparent(), Tracestate: f.GetTracestate()}
					got = append(got, fr)
					size, sum = size+frameSize(fr), sum+len(fr.Body)
				}
				require.Equal(t, sum, bodies)
				require.True(t, size <= box.batchBytes || len(m.GetFrames()) == 1)
				b.release()
			},
			"drop": func(t *rapid.T) {
				require.Equal(t, len(want) > len(got), box.drop())
				want = want[:len(got)]
				require.Zero(t, box.bytes)
			},
			"": func(t *rapid.T) {
				require.LessOrEqual(t, len(got), len(want))
				for i := range got {
					require.Equal(t, want[i], got[i])
				}
				require.LessOrEqual(t, box.bytes, box.limit)
				require.Equal(t, len(want) == len(got), box.empty())
			},
		})
	})
}

// A queue that is never empty neither grows without end nor loses its order.
func TestOutboxReusesItsRoom(t *testing.T) {
	t.Parallel()
	box := outbox{limit: 1 << 20, batchBytes: 100 * frameOverhead}
	next, want := uint64(0), uint64(0)
	var b batch
	for range 100 {
		for range 101 {
			require.True(t, box.push(Frame{Traceparent: string(binary.BigEndian.AppendUint64(nil, next))}))
			next++
		}
		box.take(&b)
		for _, f := range b.seal().GetFrames() {
			require.Equal(t, want, binary.BigEndian.Uint64([]byte(f.GetTraceparent())))
			want++
		}
		b.release()
	}
	require.False(t, box.empty())
	require.Less(t, cap(box.frames), 4096)
}

func TestOutboxBatchOfTinyFramesIsBounded(t *testing.T) {
	t.Parallel()
	box := outbox{limit: 64 << 20, batchBytes: 64 << 20}
	for range maxBatchFrames + 1 {
		require.True(t, box.push(Frame{}))
	}
	var b batch
	box.take(&b)
	require.Equal(t, maxBatchFrames, b.len())
	require.False(t, box.empty())
}

// What a frame's message takes beside its body counts, and only a neighbour's frame keeps it: QueueBytes bounds the memory that a peer
// which takes nothing holds up.
func TestQueueCountsDecodedMessages(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	body := make([]byte, 64<<10)
	fill := func(n *Node) *link {
		n.cfg.QueueBytes, n.cfg.BatchBytes = limit, limit
		l := newLink(n, Peer{Incarnation: "there"}, 0, time.Now())
		l.state, l.busy = linkUp, true
		for l.send(Frame{Body: body, Decoded: new(int)}) == nil {
		}
		return l
	}

	remote := fill(new(Node))
	require.Len(t, remote.queue.frames, limit/(len(body)+frameOverhead))
	for _, f := range remote.queue.frames {
		require.Nil(t, f.Decoded)
	}

	near := &Node{cfg: NodeConfig{Neighbours: new(Neighbours)}}
	near.cfg.Neighbours.add(&Node{self: Peer{Incarnation: "there"}})
	queue := fill(near).queue
	require.Len(t, queue.frames, limit/(len(body)*(1+decodedFactor)+frameOverhead))
	require.NotNil(t, queue.frames[0].Decoded)
	var b batch
	queue.take(&b)
	require.Equal(t, len(queue.frames) == 0, queue.bytes == 0, "what was counted is given back")

	large := Frame{Body: make([]byte, limit/2), Decoded: new(int)}
	l := newLink(near, Peer{Incarnation: "there"}, 0, time.Now())
	l.state, l.busy = linkUp, true
	require.NoError(t, l.send(large), "what never fits with its message goes without")
	require.Nil(t, l.queue.frames[0].Decoded)
}
