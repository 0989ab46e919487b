package roomhost

// urgency orders the rooms that wait to be started.
type urgency int

const (
	// subscribedOnly: hubs want to hear of the room, as they do of all at once when a node has died.
	subscribedOnly urgency = iota
	// askedFor: a client waits for an answer.
	askedFor
	// givenFirst: the room was handed over and pauses until it runs here.
	givenFirst
)

// startQueue holds rooms that wait for a place to start: the most urgent first, among them the one that waits longest. A
// room that becomes more urgent is in it twice; the second time it is passed over.
type startQueue struct {
	levels [givenFirst + 1][]*slot
	n      int
}

func (q *startQueue) len() int { return q.n }

// push adds a room that is not in the queue.
func (q *startQueue) push(s *slot, u urgency) {
	s.urgency = u
	q.levels[u] = append(q.levels[u], s)
	q.n++
}

// raise makes a room that waits more urgent.
func (q *startQueue) raise(s *slot, u urgency) {
	if u > s.urgency {
		s.urgency = u
		q.levels[u] = append(q.levels[u], s)
	}
}

// first tells how urgent the next one is.
func (q *startQueue) first() urgency {
	for u := givenFirst; u > subscribedOnly; u-- {
		for _, s := range q.levels[u] {
			if s.state == waitingStart && s.urgency == u {
				return u
			}
		}
	}
	return subscribedOnly
}

// pop removes the next one; nil: the queue is empty. It is no longer in the state waitingStart when this is called again.
func (q *startQueue) pop() *slot {
	for u := givenFirst; u >= subscribedOnly; u-- {
		for len(q.levels[u]) > 0 {
			s := q.levels[u][0]
			q.levels[u][0] = nil
			q.levels[u] = q.levels[u][1:]
			if s.state == waitingStart && s.urgency == u {
				q.n--
				return s
			}
		}
		q.levels[u] = nil
	}
	return nil
}
