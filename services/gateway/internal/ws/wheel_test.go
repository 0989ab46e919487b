package ws

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// turnOnce visits every connection once.
func turnOnce(w *Wheel) {
	for range w.buckets {
		for _, c := range w.turn(nil) {
			c.visit()
		}
	}
}

func TestWheelPingsAndCuts(t *testing.T) {
	t.Parallel()
	s := start(t)
	alive := s.connect()
	ea := s.echo()
	dead := s.connect() // later, so that its handler is the second
	ed := s.echo()
	for range 3 {
		turnOnce(s.wheel)
		alive.expect(finPing, "")
		alive.write(frame(finPong, nil))
		alive.echoes("any frame is life")
		ea.expect(t, "message any frame is life")
	}
	// The first visit finds it just opened; two more find nothing.
	ed.expect(t, "closed 0")
	dead.expectCut()
	alive.echoes("still here")
}

func TestHalfAFrameIsNoLife(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.connect()
	e := s.echo()
	f := frame(finText, make([]byte, 1000))
	for i := range 3 {
		c.write(f[i*10 : i*10+10])
		turnOnce(s.wheel)
	}
	e.expect(t, "closed 0")
}

func TestWheelKeepsItsLists(t *testing.T) {
	t.Parallel()
	w := NewWheel(time.Hour)
	var all []*Conn
	for range 300 {
		c := &Conn{}
		w.add(c)
		all = append(all, c)
	}
	require.ElementsMatch(t, all, w.All())
	for i, c := range all {
		if i%3 != 0 {
			w.remove(c)
		}
	}
	var want []*Conn
	for i, c := range all {
		if i%3 == 0 {
			want = append(want, c)
		}
	}
	require.ElementsMatch(t, want, w.All())
	for _, c := range want {
		w.remove(c)
	}
	require.Empty(t, w.All())
	require.Zero(t, w.count)
}

func TestWheelRuns(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.connect()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	fast := NewWheel(250 * time.Millisecond)
	e := s.echo()
	fast.add(e.c.twin(s))
	go func() {
		defer close(done)
		fast.Run(ctx)
	}()
	c.expect(finPing, "")
	cancel()
	<-done
}

// twin shares the connection's outbox for another wheel.
func (c *Conn) twin(s *server) *Conn {
	t := &Conn{outbox: outbox{nc: c.nc, s: s.acceptor.s}}
	t.heard.Store(true)
	return t
}
