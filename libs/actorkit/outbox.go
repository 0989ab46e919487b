package actorkit

import (
	"google.golang.org/protobuf/proto"

	linkv1 "github.com/parley-rt/parley/libs/protocol/link/v1"
)

// frameOverhead is what a queued frame weighs besides its parts: its struct and its share of the wire format.
const frameOverhead = 64

// outbox is the queue to one peer, bounded by bytes. Not safe for concurrent use: the Link's mutex guards it.
type outbox struct {
	frames []Frame
	head   int
	bytes  int
	limit  int
	// batchBytes bounds what take moves, except that it always moves one frame.
	batchBytes int
}

// decodedFactor is about how much more than its body the message takes that it encodes: of 500 small messages 5.8 times as much.
const decodedFactor = 6

// Memory is about how many bytes a frame keeps alive that waits somewhere.
func (f Frame) Memory() int {
	size := frameSize(f)
	if f.Decoded != nil {
		size += decodedFactor * len(f.Body)
	}
	return size
}

// frameSize is about how many bytes it is in a batch.
func frameSize(f Frame) int {
	size := len(f.Body) + len(f.Traceparent) + len(f.Tracestate) + frameOverhead
	if f.relay != nil {
		size += proto.Size(f.relay)
	}
	return size
}

// push queues a frame; false: it does not fit. A batch that is relayed may be larger than what it carries, so it fits into any
// empty queue.
func (o *outbox) push(f Frame) bool {
	size := f.Memory()
	if o.bytes+size > o.limit && (f.relay == nil || !o.empty()) {
		return false
	}
	o.frames = append(o.frames, f)
	o.bytes += size
	return true
}

func (o *outbox) empty() bool { return o.head == len(o.frames) }

// take moves the frames of the next batch into b and returns the bytes of their bodies.
func (o *outbox) take(b *batch) int {
	bodies, size, memory := 0, 0, 0
	for o.head < len(o.frames) && b.len() < maxBatchFrames {
		f := o.frames[o.head]
		fs := frameSize(f)
		if b.len() > 0 && size+fs > o.batchBytes {
			break
		}
		b.add(f)
		o.frames[o.head] = Frame{}
		o.head++
		size += fs
		memory += f.Memory()
		bodies += len(f.Body)
	}
	o.bytes -= memory
	if o.empty() {
		o.reset()
	} else if o.head >= 1024 && o.head*2 >= len(o.frames) {
		// Move the rest down, so that a queue that is never empty does not grow without end.
		n := copy(o.frames, o.frames[o.head:])
		clear(o.frames[n:])
		o.frames, o.head = o.frames[:n], 0
	}
	return bodies
}

// drop empties the queue and tells whether there was anything.
func (o *outbox) drop() bool {
	had := !o.empty()
	clear(o.frames)
	o.reset()
	o.bytes = 0
	return had
}

// maxKeptFrames bounds the memory that an idle queue or batch keeps for its next use.
const maxKeptFrames = 1024

func (o *outbox) reset() {
	o.head = 0
	if cap(o.frames) > maxKeptFrames {
		o.frames = nil
		return
	}
	o.frames = o.frames[:0]
}

// batch is the reusable message of a Link: one is in flight at most. GoAkt takes a message's size from the cache that an
// earlier marshalling left in it, so a message must be Reset before it is used again, or it is cut short.
type batch struct {
	msg    linkv1.Batch
	frames []linkv1.Frame
	refs   []*linkv1.Frame
	// decoded are the messages that the frames' bodies encode, or nil for each, for a neighbour.
	decoded []any
}

func (b *batch) len() int { return len(b.frames) }

func (b *batch) add(f Frame) {
	if len(b.frames) == cap(b.frames) {
		b.grow()
	}
	b.frames = b.frames[:len(b.frames)+1]
	m := &b.frames[len(b.frames)-1]
	m.Body, m.Traceparent, m.Tracestate, m.Relay = f.Body, f.Traceparent, f.Tracestate, f.relay
	b.decoded = append(b.decoded, f.Decoded)
}

// grow does what append would do, which must not copy messages.
func (b *batch) grow() {
	next := make([]linkv1.Frame, len(b.frames), max(2*cap(b.frames), 16))
	for i := range b.frames {
		f := &b.frames[i]
		next[i].Body, next[i].Traceparent, next[i].Tracestate, next[i].Relay = f.Body, f.Traceparent, f.Tracestate, f.Relay
	}
	b.frames = next
}

// seal points the message at the frames.
func (b *batch) seal() *linkv1.Batch {
	b.refs = b.refs[:0]
	for i := range b.frames {
		b.refs = append(b.refs, &b.frames[i])
	}
	b.msg.Frames = b.refs
	return &b.msg
}

// release forgets the frames, so that their bodies can be collected, and makes the message fit for reuse.
func (b *batch) release() {
	b.msg.Reset()
	if cap(b.frames) > maxKeptFrames {
		b.frames, b.refs, b.decoded = nil, nil, nil
		return
	}
	clear(b.decoded)
	b.decoded = b.decoded[:0]
	for i := range b.frames {
		b.frames[i].Reset()
	}
	b.frames = b.frames[:0]
}
