package chaostest

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"

	"github.com/parley-rt/parley/libs/persistence"
)

// state is what a room's events add up to: a hash over all of them, in order. Every event carries the hash that its writer
// believed in, so whoever reads a run of events sees whether a writer went on from a state that was not the room's.
type state struct {
	seq   uint64
	chain uint64
	// term is the lease epoch of the newest event, in streams that are written under a lease.
	term uint64
}

const manifest = "chaostest.v1.Link"

// compose makes the next event of the state, and the state after it.
func (s state) compose(random *rand.Rand, id [16]byte, term uint64) (persistence.Event, state) {
	payload := make([]byte, 8, 8+256)
	binary.BigEndian.PutUint64(payload, s.chain)
	for range random.IntN(32) {
		payload = binary.BigEndian.AppendUint64(payload, random.Uint64())
	}
	e := persistence.Event{MessageID: id, Manifest: manifest, Payload: payload}
	if term > 0 {
		e.Meta = binary.BigEndian.AppendUint64(nil, term)
	}
	e.Seq = s.seq + 1
	next, _ := s.apply(&e) // it was made to fit
	e.Seq = 0
	return e, next
}

// apply is the state after e, an error when e does not follow.
func (s state) apply(e *persistence.Event) (state, error) {
	if e.Seq != s.seq+1 {
		return s, fmt.Errorf("event %d follows state %d", e.Seq, s.seq)
	}
	before, after, err := links(e)
	if err != nil {
		return s, err
	}
	if before != s.chain {
		return s, fmt.Errorf("event %d of epoch %d was written on a state %x, the events before it add up to %x", e.Seq, e.Epoch, before, s.chain)
	}
	next := state{seq: e.Seq, chain: after, term: s.term}
	if len(e.Meta) == 8 {
		next.term = binary.BigEndian.Uint64(e.Meta)
	}
	if next.term < s.term {
		return s, fmt.Errorf("event %d was written in the lease's epoch %d, after one of epoch %d", e.Seq, next.term, s.term)
	}
	return next, nil
}

// links are the hashes before and after an event.
func links(e *persistence.Event) (before, after uint64, err error) {
	if len(e.Payload) < 8 || e.Manifest != manifest {
		return 0, 0, fmt.Errorf("event %d has a payload of %d bytes and the manifest %q", e.Seq, len(e.Payload), e.Manifest)
	}
	sum := fnv.New64a()
	_, _ = sum.Write(e.MessageID[:])
	_, _ = sum.Write(e.Meta)
	_, _ = sum.Write(e.Payload)
	return binary.BigEndian.Uint64(e.Payload), sum.Sum64(), nil
}

func (s state) snapshot() persistence.Snapshot {
	payload := binary.BigEndian.AppendUint64(nil, s.seq)
	payload = binary.BigEndian.AppendUint64(payload, s.chain)
	payload = binary.BigEndian.AppendUint64(payload, s.term)
	return persistence.Snapshot{Seq: s.seq, Manifest: manifest, Payload: payload}
}

// restore reads a snapshot; the zero one is the state of a new stream.
func restore(s persistence.Snapshot) (state, error) {
	if s.Seq == 0 && s.Payload == nil {
		return state{}, nil
	}
	if len(s.Payload) != 24 || s.Manifest != manifest {
		return state{}, fmt.Errorf("snapshot %d has a payload of %d bytes and the manifest %q", s.Seq, len(s.Payload), s.Manifest)
	}
	restored := state{
		seq:   binary.BigEndian.Uint64(s.Payload),
		chain: binary.BigEndian.Uint64(s.Payload[8:]),
		term:  binary.BigEndian.Uint64(s.Payload[16:]),
	}
	if restored.seq != s.Seq {
		return state{}, fmt.Errorf("snapshot %d has the state of %d", s.Seq, restored.seq)
	}
	return restored, nil
}
