package gateway

import (
	"net"
	"time"
)

// pacedListener takes connections at a steady pace at most, after a burst. Accepting as fast as a herd comes would hand all
// of it to the scheduler at once, where it stands in line with those who are connected already; in the kernel's queue it is
// in nobody's way. For one goroutine, like any server's Accept.
type pacedListener struct {
	net.Listener
	interval time.Duration
	burst    time.Duration // as the time that its connections take at the pace
	next     time.Time
}

// acceptBurst is how many connections are taken at once after a pause.
const acceptBurst = 64

func newPacedListener(l net.Listener, perSecond int) *pacedListener {
	interval := time.Second / time.Duration(perSecond)
	return &pacedListener{Listener: l, interval: interval, burst: acceptBurst * interval}
}

// Accept implements net.Listener.
func (l *pacedListener) Accept() (net.Conn, error) {
	if wait := time.Until(l.next); wait > 0 {
		time.Sleep(wait) // a few milliseconds at most
	}
	c, err := l.Listener.Accept()
	if now := time.Now(); l.next.Before(now.Add(-l.burst)) {
		l.next = now.Add(-l.burst)
	}
	l.next = l.next.Add(l.interval)
	return c, err
}
