package gateway

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// line is a listener with those at hand that a test sends.
type line struct {
	comers chan net.Conn
	over   chan struct{}
	once   sync.Once
	broken chan error
}

func newLine() *line {
	return &line{comers: make(chan net.Conn, 100_000), over: make(chan struct{}), broken: make(chan error, 1)}
}

// comer is a connection that knows when it came.
type comer struct {
	net.Conn
	came time.Time
	cut  bool
}

func (c *comer) Close() error { c.cut = true; return nil }

func (l *line) come(n int) {
	for range n {
		l.comers <- &comer{came: time.Now()}
	}
}

func (l *line) Accept() (net.Conn, error) {
	select {
	case err := <-l.broken:
		return nil, err
	case c := <-l.comers:
		return c, nil
	case <-l.over:
		return nil, net.ErrClosed
	}
}

func (l *line) Close() error   { l.once.Do(func() { close(l.over) }); return nil }
func (l *line) Addr() net.Addr { return &net.TCPAddr{} }

// door accepts from an entrance until it is closed and counts.
type door struct {
	mu             sync.Mutex
	taken, refused int
	longest        time.Duration // from coming to being taken
	problems       []error
}

func (d *door) serve(e *entrance) {
	for {
		c, err := e.Accept()
		d.mu.Lock()
		switch {
		case errors.Is(err, net.ErrClosed):
			d.mu.Unlock()
			return
		case err != nil:
			d.problems = append(d.problems, err)
		case e.note(context.Background(), c).Value(refusalKey{}) != nil:
			d.refused++
		default:
			d.taken++
			d.longest = max(d.longest, time.Since(c.(*comer).came)) //nolint:forcetypeassert // nothing else comes
		}
		d.mu.Unlock()
	}
}

func (d *door) counts() (taken, refused int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.taken, d.refused
}

func enter(p pace) (*line, *entrance, *door, func()) {
	l := newLine()
	e := newEntrance(l, p)
	d := &door{}
	var all sync.WaitGroup
	all.Go(e.take)
	all.Go(func() { d.serve(e) })
	return l, e, d, func() {
		_ = e.Close() // of line: never an error
		all.Wait()
	}
}

func TestEntranceTakesAFewAtOnceAndThenKeepsThePace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _, d, end := enter(newPace(500, 500))
		defer end()
		<-time.After(time.Second)
		l.come(burst)
		synctest.Wait()
		taken, _ := d.counts()
		require.Equal(t, burst, taken, "nobody waits in calm")
		l.come(1000)
		<-time.After(time.Second)
		taken, refused := d.counts()
		require.InDelta(t, 500+2*burst, taken, burst)
		require.Zero(t, refused, "all have their turn in time")
		<-time.After(time.Second + 100*time.Millisecond)
		taken, _ = d.counts()
		require.Equal(t, 1000+burst, taken)
	})
}

// Of a herd all wait that fit in until the pace has shown itself; then as many as get their turn in time. The others are told, as
// fast as the pace allows, and nobody is forgotten.
func TestEntranceRefusesThoseWhoWouldWaitTooLong(t *testing.T) {
	t.Parallel()
	inTime := int(400 * waitAtMost.Seconds())
	synctest.Test(t, func(t *testing.T) {
		l, e, d, end := enter(newPace(400, 400))
		defer end()
		l.come(20_000)
		synctest.Wait()
		_, waiting, toRefuse := e.state()
		require.Equal(t, mostWaiting, waiting)
		require.Equal(t, mostRefusals, toRefuse, "the kernel keeps the others")
		<-time.After(settling - time.Millisecond)
		_, refused := d.counts()
		require.Zero(t, refused)
		<-time.After(40 * time.Second)
		synctest.Wait()
		taken, refused := d.counts()
		require.Equal(t, 20_000, taken+refused)
		require.Greater(t, refused, 10_000)
	})
	synctest.Test(t, func(t *testing.T) {
		l, _, d, end := enter(newPace(400, 400))
		defer end()
		l.come(inTime + mostRefusals)
		<-time.After(20 * time.Second)
		synctest.Wait()
		require.LessOrEqual(t, d.longest, waitAtMost+settling+100*time.Millisecond)
		_, refused := d.counts()
		require.InDelta(t, mostRefusals, refused, 400*settling.Seconds()+2*burst)
	})
}

// A pace that rises in time takes all of a herd that would wait for too long at the least one.
func TestEntranceSendsNobodyAwayBeforeItKnowsItsPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, e, d, end := enter(newPace(400, 4000))
		defer end()
		l.come(5000)
		for range 80 {
			<-time.After(paceEvery)
			e.observe(strain{})
		}
		taken, refused := d.counts()
		require.Zero(t, refused)
		require.Equal(t, 5000, taken)
		require.Less(t, d.longest, 3*time.Second)
		perSecond, after := e.outlook()
		require.InDelta(t, returnFactor*400, perSecond, 1, "it went back")
		require.Zero(t, after)
	})
}

// Those that wait take free places of connections, and no others.
func TestEntranceHasNoMorePlacesThanThereAreFiles(t *testing.T) {
	t.Parallel()
	for free, want := range map[int]int{-5: 100, 0: 100, 50: 150, 1_000_000: mostWaiting} {
		e := newEntrance(newLine(), newPace(400, 400))
		e.limit(100, 10, func() int { return free })
		require.Equal(t, want, e.places(time.Now()), "%d", free)
	}
}

// Whatever pace the machine can bear and however they come, everybody is answered.
func TestEntranceForgetsNobody(t *testing.T) {
	t.Parallel()
	for range 20 {
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, 0))
		synctest.Test(t, func(t *testing.T) {
			l, e, d, end := enter(newPace(float64(50+random.IntN(500)), 3000))
			defer end()
			sent := 0
			for range 300 {
				if random.IntN(10) == 0 {
					n := random.IntN(1000)
					l.come(n)
					sent += n
				}
				<-time.After(paceEvery)
				e.observe(strain{late: time.Duration(random.Int64N(int64(2 * tooLate)))})
			}
			<-time.After(time.Hour)
			taken, refused := d.counts()
			require.Equal(t, sent, taken+refused, "seed %d", seed)
		})
	}
}

// A socket that fails is told once and tried again; a closed one ends it, and who waits is cut.
func TestEntranceOutlivesAFailingSocket(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, e, d, end := enter(newPace(10, 10))
		tooMany := errors.New("too many open files")
		l.broken <- tooMany
		<-time.After(time.Second)
		synctest.Wait()
		require.Equal(t, []error{tooMany}, d.problems)
		last := &comer{came: time.Now()}
		l.come(20)
		l.comers <- last
		synctest.Wait()
		end()
		require.True(t, last.cut)
		_, err := e.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
		_, waiting, refused := e.state()
		require.Zero(t, waiting+refused)
	})
}

// With real sockets, all come in in the end, and the pace does not hold up the end of the listener, whoever closes it.
func TestEntranceOnASocket(t *testing.T) {
	t.Parallel()
	for _, under := range []bool{false, true} {
		t.Run(fmt.Sprint("closed under it ", under), func(t *testing.T) {
			t.Parallel()
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			e := newEntrance(inner, newPace(2000, 2000))
			var all sync.WaitGroup
			all.Go(e.take)
			for range 300 {
				all.Go(func() {
					c, err := net.Dial("tcp", inner.Addr().String())
					if err != nil {
						t.Error(err)
						return
					}
					_ = c.Close() // only to come in
				})
			}
			for range 300 {
				c, err := e.Accept()
				require.NoError(t, err)
				require.NoError(t, c.Close())
			}
			if under {
				require.NoError(t, inner.Close())
			} else {
				require.NoError(t, e.Close())
			}
			all.Wait()
			_, err = e.Accept()
			require.ErrorIs(t, err, net.ErrClosed)
		})
	}
}
