//go:build linux

package barehub

import (
	"strconv"
	"sync"
)

// room numbers messages. Its parts belong to one loop each.
type room struct {
	name  string
	parts []part

	mu  sync.Mutex
	seq uint64
	// has tells for each loop whether it has members, behind mu because every publisher reads it.
	has []bool
	// tail is the last frames, oldest first, at most twice as many as are kept.
	tail [][]byte
}

// part is what one loop has of a room; only that loop touches it.
type part struct {
	members []*conn
	// fresh is what came in this turn from one's own connections: their publishes, to be numbered.
	fresh []publish
	// out is what leaves to the members in this turn, marks where each batch of it ends.
	out   []byte
	marks []mark
}

// mark ends a batch: the number of its last message, and how many bytes of out there are up to here.
type mark struct {
	seq uint64
	end int
}

// since is what of out comes after a number. Batches are numbered as a whole, so that one is before it or after it.
func (p *part) since(seq uint64) []byte {
	begin := 0
	for _, m := range p.marks {
		if m.seq > seq {
			break
		}
		begin = m.end
	}
	return p.out[begin:]
}

// publish is a message of a connection; the bytes are valid until the turn ends.
type publish struct {
	from        *conn
	id, content []byte
}

// batch is numbered frames on their way to a loop.
type batch struct {
	room   *room
	frames []byte
	last   uint64
}

// number gives the messages of one turn their numbers, hands the frames to every loop that has members, in that order for all, and
// acknowledges them. keep is how many frames stay for those who come later.
func (r *room) number(messages []publish, sentAt []byte, keep int, loops []*loop) {
	size := 0
	for _, m := range messages {
		size += len(m.content) + len(m.id) + len(r.name) + frameFields
	}
	frames := make([]byte, 0, size)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range messages {
		begin := len(frames)
		frames = appendMessage(frames, r.name, m, sentAt, r.seq+1, r.seq)
		r.seq++
		if keep > 0 {
			r.tail = append(r.tail, frames[begin:len(frames):len(frames)])
		}
		m.from.acks = appendAck(m.from.acks, r.name, m.id, r.seq)
	}
	if keep > 0 && len(r.tail) > 2*keep {
		r.tail = append(r.tail[:0:0], r.tail[len(r.tail)-keep:]...)
	}
	for i, has := range r.has {
		if has {
			loops[i].give(batch{room: r, frames: frames, last: r.seq})
		}
	}
}

// join makes a connection a member from here on, and returns the number of the last message and the frames after a number of the
// tail that are kept.
func (r *room) join(l *loop, c *conn, after uint64, replay bool) (head uint64, missed [][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.has == nil {
		r.has = make([]bool, len(r.parts))
	}
	r.has[l.index] = true
	p := &r.parts[l.index]
	// What was numbered before and has not left yet is not for the newcomer.
	c.place, c.room, c.from = len(p.members), r, r.seq
	p.members = append(p.members, c)
	if replay && after < r.seq {
		missed = r.tail[max(0, len(r.tail)-int(r.seq-after)):]
	}
	return r.seq, missed
}

func (r *room) leave(l *loop, c *conn) {
	p := &r.parts[l.index]
	last := p.members[len(p.members)-1]
	p.members[c.place], last.place = last, c.place
	p.members = p.members[:len(p.members)-1]
	if len(p.members) == 0 {
		r.mu.Lock()
		r.has[l.index] = false
		r.mu.Unlock()
	}
}

const frameFields = 200

func appendMessage(b []byte, room string, m publish, sentAt []byte, seq, previous uint64) []byte {
	return appendFrame(b, func(b []byte) []byte {
		b = append(b, `{"message":{"target":"`...)
		b = append(b, room...)
		b = append(b, `","content":"`...)
		b = append(b, m.content...)
		b = append(b, `","message_id":"`...)
		b = append(b, m.id...)
		b = append(b, `","sent_at":"`...)
		b = append(b, sentAt...)
		b = append(b, `","sender":"`...)
		b = append(b, m.from.name...)
		b = append(b, `","seq":"`...)
		b = strconv.AppendUint(b, seq, 10)
		if previous > 0 {
			b = append(b, `","prev_seq":"`...)
			b = strconv.AppendUint(b, previous, 10)
		}
		return append(b, `"}}`...)
	})
}

func appendAck(b []byte, room string, id []byte, seq uint64) []byte {
	return appendFrame(b, func(b []byte) []byte {
		b = append(b, `{"ack":{"target":"`...)
		b = append(b, room...)
		b = append(b, `","message_id":"`...)
		b = append(b, id...)
		b = append(b, `","seq":"`...)
		b = strconv.AppendUint(b, seq, 10)
		return append(b, `"}}`...)
	})
}
