package roomhost

import "container/list"

// heads remembers up to which seq rooms that stopped here had acknowledged events. It forgets those that stopped longest
// ago when it is full: a tail that such a room loses is then not noticed by this node.
type heads struct {
	limit  int
	byRoom map[string]*list.Element
	oldest list.List // of head, in the order of their stops
}

type head struct {
	room string
	seq  uint64
}

func newHeads(limit int) *heads { return &heads{limit: limit, byRoom: make(map[string]*list.Element)} }

// of returns the seq remembered of a room; 0: none.
func (h *heads) of(room string) uint64 {
	if e, ok := h.byRoom[room]; ok {
		return e.Value.(head).seq
	}
	return 0
}

// remember replaces what is known of a room. 0 says nothing and changes nothing.
func (h *heads) remember(room string, seq uint64) {
	if seq == 0 {
		return
	}
	if e, ok := h.byRoom[room]; ok {
		h.oldest.Remove(e)
	}
	h.byRoom[room] = h.oldest.PushBack(head{room, seq})
	if h.oldest.Len() > h.limit {
		delete(h.byRoom, h.oldest.Remove(h.oldest.Front()).(head).room)
	}
}
