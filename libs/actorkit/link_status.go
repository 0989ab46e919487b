package actorkit

import "time"

func (l *link) lastHeard() time.Time {
	if ns := l.heard.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}

func (l *link) status() LinkStatus {
	l.mu.Lock()
	state, cause, over := l.state, l.cause, l.way.over
	l.mu.Unlock()
	return LinkStatus{
		Relayed: over,
		Up:      state == linkUp, Down: state == linkDown || state == linkClosed, Err: cause,
		Blind: l.blind.Load(), LastHeard: l.lastHeard(),
	}
}

// drained tells whether nothing is queued or in flight.
func (l *link) drained() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state != linkUp || l.queue.empty() && !l.busy
}

func (l *link) queued() (bytes int, up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queue.bytes, l.state == linkUp
}
