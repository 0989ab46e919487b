package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// waitAtMost is how long a connection waits for its turn at most. Those that would wait longer are told when to come back:
	// a client does not wait for ever, and an entrance full of those that have given up helps nobody.
	waitAtMost = 3 * time.Second
	// settling is how long a herd's pace takes to tell: until then nobody is sent away who fits in.
	settling = time.Second
	// refusalsByOne is how many are sent away in the time in which one is taken: it costs a fraction.
	refusalsByOne = 2
	// mostRefusals may wait to be sent away; more stay in the kernel's queue.
	mostRefusals = 4096
	// burst is how many are taken at once after a pause. It is small, because what a processor has in hand holds up everything
	// else there.
	burst = 8
	// acceptRetry is the first pause after the socket refused to give a connection, which doubles up to acceptRetryMost.
	acceptRetry, acceptRetryMost = 5 * time.Millisecond, time.Second
)

// entrance is a listener that hands connections on at the pace that those who are in already can bear.
//
//	kernel ──take──► waiting, as many as there are places for ──pace──► Accept
//	                    │ settled: those at the end who would wait longer than waitAtMost
//	                    ▼
//	                 refused, at most mostRefusals ──twice the pace──► Accept, and note marks it
//	both full: the kernel keeps them
//
// What is here counts neither as a connection nor as a handshake; see sockets.
//
// Accept and note are for one goroutine, like any server's; take and adapt run beside it.
type entrance struct {
	net.Listener
	room    chan struct{} // there may be room again; one is enough
	news    chan struct{} // something changed for Accept
	closed  chan struct{}
	closing sync.Once

	mu      sync.Mutex
	pace    pace
	pressed bool      // somebody waited since the last decision
	since   time.Time // when they began to; zero: nobody does
	waiting queue
	refused queue
	problem error // of the socket, not told yet

	in, out     budget // of Accept's goroutine
	lastRefused bool
	// most is how many may be in each queue, or narrow when that is less and above 0.
	mostWaiting, mostRefused, narrow int
	// free is how many places of connections are free, which those that wait take already; nil: none.
	free func() int
}

// queue is of connections, in order.
type queue struct{ list []net.Conn }

func (q *queue) len() int        { return len(q.list) }
func (q *queue) push(c net.Conn) { q.list = append(q.list, c) }
func (q *queue) pop() net.Conn {
	c := q.list[0]
	q.list[0] = nil
	if q.list = q.list[1:]; len(q.list) == 0 {
		q.list = nil
	}
	return c
}

// last takes the one out that came last.
func (q *queue) last() net.Conn {
	n := len(q.list) - 1
	c := q.list[n]
	q.list[n] = nil
	q.list = q.list[:n]
	return c
}

// newEntrance takes the listener over. take and adapt are to be run.
func newEntrance(l net.Listener, p pace) *entrance {
	return &entrance{
		Listener: l, pace: p, mostWaiting: mostWaiting, mostRefused: mostRefusals,
		room: make(chan struct{}, 1), news: make(chan struct{}, 1), closed: make(chan struct{}),
	}
}

// limit sets how many may be in each queue, before take runs; free is how many more may wait as long as there are so many places
// for connections.
func (e *entrance) limit(waiting, refused int, free func() int) {
	e.mostWaiting, e.mostRefused, e.free = waiting, min(e.mostRefused, refused), free
}

// places is how many may wait now.
func (e *entrance) places(now time.Time) int {
	most := e.mostWaiting
	if e.free != nil {
		most = max(most, min(mostWaiting, most+e.free()))
	}
	if e.settles(now) > 0 {
		return most
	}
	return min(most, max(burst, int(e.pace.rate*waitAtMost.Seconds())))
}

// settles says in how long it will have shown how many get their turn in time; zero or less: it has.
func (e *entrance) settles(now time.Time) time.Duration {
	if e.since.IsZero() {
		return settling
	}
	return e.since.Add(settling).Sub(now)
}

// trim sends those away who wait at the end of too long a line.
func (e *entrance) trim(now time.Time) {
	for most := e.places(now); e.waiting.len() > most && e.fits(&e.refused, e.mostRefused); {
		e.refused.push(e.waiting.last())
	}
}

// setNarrow lets at most n be in each queue; 0: as many as usual.
func (e *entrance) setNarrow(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.narrow = n
	signal(e.room)
}

func (e *entrance) fits(q *queue, most int) bool {
	if e.narrow > 0 {
		most = min(most, e.narrow)
	}
	return q.len() < most
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Accept implements net.Listener.
func (e *entrance) Accept() (net.Conn, error) {
	for {
		c, wait, err := e.next(time.Now())
		if c != nil || err != nil {
			return c, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-e.news:
		case <-e.closed:
		}
		timer.Stop()
	}
}

type refusalKey struct{}

// note is http.Server's ConnContext, which the goroutine that accepts calls for each connection before it accepts the next.
func (e *entrance) note(ctx context.Context, _ net.Conn) context.Context {
	if e.lastRefused {
		return context.WithValue(ctx, refusalKey{}, true)
	}
	return ctx
}

// toRefuse says whether a request came by a connection whose client is to come back later.
func toRefuse(r *http.Request) bool { return r.Context().Value(refusalKey{}) != nil }

// next is the connection whose turn it is, or how long to wait for one.
func (e *entrance) next(now time.Time) (c net.Conn, wait time.Duration, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.closed:
		return nil, 0, net.ErrClosed
	default:
	}
	if err, e.problem = e.problem, nil; err != nil {
		return nil, 0, err
	}
	e.trim(now)
	wait = time.Hour // there will be news
	if e.waiting.len() > 0 {
		if wait = e.in.due(now); wait <= 0 {
			e.in.spend(now, e.pace.rate, burst)
			e.lastRefused = false
			return e.took(&e.waiting), 0, nil
		}
		e.pressed = true
	}
	if e.refused.len() > 0 {
		later := max(e.out.due(now), e.settles(now))
		if later <= 0 {
			e.out.spend(now, refusalsByOne*e.pace.rate, burst)
			e.lastRefused = true
			return e.took(&e.refused), 0, nil
		}
		wait = min(wait, later)
	}
	return nil, wait, nil
}

// took is the first of a queue.
func (e *entrance) took(q *queue) net.Conn {
	c := q.pop()
	if e.waiting.len()+e.refused.len() == 0 {
		e.since = time.Time{}
	}
	signal(e.room)
	return c
}

// take moves connections out of the kernel's queue until the listener is closed.
func (e *entrance) take() {
	pause := acceptRetry
	for {
		if !e.awaitRoom() {
			return
		}
		c, err := e.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			_ = e.Close() // closed under us
			return
		}
		e.put(c, err)
		if err == nil {
			pause = acceptRetry
			continue
		}
		select { // too many open files, usually
		case <-time.After(pause):
			pause = min(2*pause, acceptRetryMost)
		case <-e.closed:
			return
		}
	}
}

func (e *entrance) awaitRoom() bool {
	for {
		e.mu.Lock()
		full := !e.fits(&e.waiting, e.places(time.Now())) && !e.fits(&e.refused, e.mostRefused)
		e.mu.Unlock()
		if !full {
			return true
		}
		select {
		case <-e.room:
		case <-e.closed:
			return false
		}
	}
}

func (e *entrance) put(c net.Conn, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.closed:
		if c != nil {
			_ = c.Close() // nobody will
		}
		return
	default:
	}
	now := time.Now()
	if err != nil {
		e.problem = err
	} else {
		if e.since.IsZero() {
			e.since = now
		}
		q := &e.waiting
		if !e.fits(q, e.places(now)) {
			q = &e.refused
		}
		q.push(c)
	}
	signal(e.news)
}

// adapt keeps the pace until ctx ends. age is how long the first of those that were taken has waited for its session.
func (e *entrance) adapt(ctx context.Context, age func() time.Duration) {
	l := newLateness()
	t := time.NewTicker(paceEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			e.observe(strain{late: l.slowest(), age: age()})
		}
	}
}

func (e *entrance) observe(s strain) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pace.observe(s, e.pressed)
	e.pressed = false
	signal(e.news) // the pace may have risen
	signal(e.room)
}

// returnFactor is by how much sooner those who are sent away are to come back than it is their turn: the pace may rise, and who is
// early finds a place to wait.
const returnFactor = 1.5

// outlook is at what rate those who are sent away are to come back, and in how long at the soonest.
func (e *entrance) outlook() (perSecond float64, after time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	perSecond = returnFactor * e.pace.rate
	ahead := min(float64(e.waiting.len()), e.pace.rate*waitAtMost.Seconds()) // more will not be left there
	return perSecond, time.Duration(ahead / perSecond * float64(time.Second))
}

// state is for metrics.
func (e *entrance) state() (perSecond float64, waiting, refused int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pace.rate, e.waiting.len(), e.refused.len()
}

// Close implements net.Listener. Those that wait are cut.
func (e *entrance) Close() error {
	err := e.Listener.Close()
	e.closing.Do(func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		close(e.closed)
		for _, q := range []*queue{&e.waiting, &e.refused} {
			for q.len() > 0 {
				_ = q.pop().Close() // it was never read from
			}
		}
	})
	return err
}
