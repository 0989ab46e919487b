package postgres

import "slices"

// messageMemory is what a writer sends its batches from. pgx makes the memory of every large message anew, and lets it grow
// step by step, which comes to three times the message.
type messageMemory struct {
	buf  []byte
	size int
}

// keptMessage is how much of it is kept: a rare huge batch should not stay in memory.
const keptMessage = 1 << 20

// reserve has c send its next message, with these parameters, from this memory. pgx does not touch it any more when it has
// the answer.
func (m *messageMemory) reserve(c *conn, params [][]byte) {
	m.size = 1024 // what is around the parameters
	for _, p := range params {
		m.size += 4 + len(p)
	}
	c.PgConn().Frontend().Send(m)
}

// forget leaves the memory to a connection that is given up: pgx writes a good-bye into it in the background, at any time.
func (m *messageMemory) forget() { m.buf = nil }

// Encode is called by pgx with what it has to send already. It adds nothing but room.
func (m *messageMemory) Encode(dst []byte) ([]byte, error) {
	if len(dst) > 0 {
		return slices.Grow(dst, m.size), nil
	}
	if cap(m.buf) < m.size || cap(m.buf) > keptMessage {
		m.buf = make([]byte, 0, m.size+m.size/4)
	}
	return m.buf[:0], nil
}

// Decode is never called: this is no message that anybody receives.
func (*messageMemory) Decode([]byte) error { return nil }

// Frontend makes it a message of a client to pgx.
func (*messageMemory) Frontend() {}
