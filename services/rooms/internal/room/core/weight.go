package core

// What an id of the window and a membership take in memory, about, beside their text.
const (
	idWeight         = 64
	membershipWeight = 160
)

// Weight returns about how many bytes the state takes in memory.
func (s *State) Weight() int { return s.window.Len()*idWeight + s.tail.bytes }

// Weight returns about how many bytes the shard takes in memory.
func (m *Members) Weight() int { return len(m.sessions)*membershipWeight + m.bytes }
