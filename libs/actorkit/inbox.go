package actorkit

import (
	"fmt"
	"slices"

	linkv1 "github.com/parley-rt/parley/libs/protocol/link/v1"
)

// maxPastLives bounds how many replaced incarnations of a node are remembered, so that a late batch of one of them is not
// taken for a new life. One can be late by no more than the time an Ask lasts.
const maxPastLives = 4

// maxSenders bounds the node names remembered. Forgetting one only means that its next batch counts as the first.
const maxSenders = 4096

// inbox is what a door knows of the batches it got: pure state, one sender per node name.
type inbox struct {
	self    string // this node's incarnation
	senders map[string]*sender
}

type sender struct {
	incarnation string
	past        []string
	last        uint64
	// frames tells whether this life has sent any: a life that never did can have lost none.
	frames bool
}

// verdict is what to do with a batch.
type verdict struct {
	// refused is why the batch is not taken; nothing else is set then.
	refused string
	// repeated: the frames were handed over before, or were declared lost.
	repeated bool
	// lost is not nil when frames before this batch are missing.
	lost error
}

func newInbox(self string) *inbox { return &inbox{self: self, senders: map[string]*sender{}} }

// judge takes note of a batch. A sender puts frames only into batches that follow an answered one, so the first batch
// seen of a life may have any number.
func (in *inbox) judge(b *linkv1.Batch) verdict {
	switch {
	case b.GetFromNode() == "" || b.GetFromIncarnation() == "" || b.GetNumber() == 0:
		return verdict{refused: "batch without sender or number"}
	case b.GetToIncarnation() != in.self:
		return verdict{refused: fmt.Sprintf("meant for incarnation %s, this is %s", b.GetToIncarnation(), in.self)}
	case len(b.GetFrames()) > maxBatchFrames:
		return verdict{refused: fmt.Sprintf("batch of %d frames, at most %d", len(b.GetFrames()), maxBatchFrames)}
	}
	s := in.senders[b.GetFromNode()]
	var v verdict
	switch {
	case s == nil:
		in.makeRoom()
		s = &sender{incarnation: b.GetFromIncarnation()}
		in.senders[b.GetFromNode()] = s
	case s.incarnation != b.GetFromIncarnation():
		if slices.Contains(s.past, b.GetFromIncarnation()) {
			return verdict{refused: fmt.Sprintf("incarnation %s was replaced by %s", b.GetFromIncarnation(), s.incarnation)}
		}
		if s.frames {
			v.lost = fmt.Errorf("incarnation %s replaced %s", b.GetFromIncarnation(), s.incarnation)
		}
		s.past = append(s.past, s.incarnation)
		if len(s.past) > maxPastLives {
			s.past = s.past[1:]
		}
		s.incarnation, s.frames = b.GetFromIncarnation(), false
	case b.GetNumber() <= s.last:
		return verdict{repeated: true}
	case b.GetNumber() > s.last+1:
		v.lost = fmt.Errorf("batches %d to %d are missing", s.last+1, b.GetNumber()-1)
	}
	s.last = b.GetNumber()
	s.frames = s.frames || len(b.GetFrames()) > 0
	return v
}

// heard is the incarnation of a node that was heard last; empty: none was.
func (in *inbox) heard(node string) string {
	if s := in.senders[node]; s != nil {
		return s.incarnation
	}
	return ""
}

func (in *inbox) makeRoom() {
	for name := range in.senders {
		if len(in.senders) < maxSenders {
			return
		}
		delete(in.senders, name)
	}
}
