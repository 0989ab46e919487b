package parley

// stream is the client's place in one room's messages: the pure half of receiving. It holds the rule that makes a stream
// contiguous whatever the server does: accept a message iff prev_seq ≤ cursor < seq, drop seq ≤ cursor, and join again
// with the cursor when prev_seq > cursor.
type stream struct {
	cursor Cursor
	// placed: the cursor means something. Before, the room's answer to the join places it at the head.
	placed bool
	// incarnation is the room's newest one. The cursor adopts it only once it is known to belong to it: a client that is cut
	// off between room_joined and its reset must still present the old one.
	incarnation uint64
	// gap: a message is missing, and everything is dropped until the room is joined again.
	gap bool
}

type verdict int

const (
	accept verdict = iota
	drop
	// missing is returned once per gap: the caller joins again.
	missing
)

// judge decides on a message without changing the cursor, so that the caller can first find a place for it.
func (s *stream) judge(seq, prevSeq uint64) verdict {
	switch {
	case !s.placed || s.gap || seq <= s.cursor.Seq:
		return drop
	case prevSeq > s.cursor.Seq:
		s.gap = true
		return missing
	default:
		return accept
	}
}

// advance moves behind an accepted message.
func (s *stream) advance(seq uint64, messageID string) {
	s.cursor.Seq, s.cursor.MessageID = seq, messageID
}

// joined takes the room's answer to a join. recovered: the cursor that was given is good and no reset follows.
func (s *stream) joined(head, incarnation uint64, recovered bool) {
	s.gap = false
	s.incarnation = incarnation
	switch {
	case !s.placed:
		s.placed = true
		s.cursor = Cursor{Seq: head, Incarnation: incarnation}
	case recovered:
		s.cursor.Incarnation = incarnation
	}
}

// reset moves to where the server says the stream goes on.
func (s *stream) reset(seq uint64) {
	s.gap = false
	s.placed = true
	s.cursor = Cursor{Seq: seq, Incarnation: s.incarnation}
}

// rewound takes note of a history that was lost. A connection that was there at the time is not told the incarnation of the new
// one, and must not go on presenting the old one: the next answer to a join tells.
func (s *stream) rewound() {
	if s.placed && s.cursor.Incarnation == s.incarnation {
		s.incarnation = 0
	}
}
