package durability

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/e2e/history"
)

// S1 to S5 and L1 to L3 for one process, on each journal: it is killed with SIGKILL in the middle of traffic and started again
// on the same data, many times at random moments. Whatever it acknowledged must be there, at its seq, once, in order; every
// reader that comes back with after_seq goes on without a gap or a repeat.
//
// PARLEY_E2E_KILLS sets the number of kills (default 20), PARLEY_E2E_SEED the random moments.
func TestNothingAcknowledgedIsLostOverKills(t *testing.T) {
	kills := environment(t, "PARLEY_E2E_KILLS", 20)
	seed := environment(t, "PARLEY_E2E_SEED", int(time.Now().UnixNano()%1_000_000))
	onEachJournal(t, func(t *testing.T, server *harness.Server) {
		t.Logf("%d kills, seed %d", kills, seed)
		random := rand.New(rand.NewPCG(uint64(seed), 0))
		load := startLoad(t, server.WebSocket(), 4, 3)
		for range kills {
			load.awaitProgress(t)
			wait(t, time.Duration(random.Int64N(int64(700*time.Millisecond))))
			server.Kill9()
			server.Restart()
		}
		load.finish(t)
	})
}

// The same over orderly stops: a drain loses nothing, and nobody sees an error that cannot be retried.
func TestNothingIsLostOverOrderlyRestarts(t *testing.T) {
	onEachJournal(t, func(t *testing.T, server *harness.Server) {
		load := startLoad(t, server.WebSocket(), 2, 2)
		for range 3 {
			load.awaitProgress(t)
			server.Term()
			server.Restart()
		}
		load.finish(t)
	})
}

// onEachJournal runs a test once per journal with a server of its own; one after the other, for they measure time.
func onEachJournal(t *testing.T, test func(t *testing.T, server *harness.Server)) {
	t.Helper()
	for _, journal := range harness.Journals() {
		t.Run(string(journal), func(t *testing.T) { test(t, harness.StartDevOn(t, journal)) })
	}
}

// load is the traffic of a test: in every room publishers with a window of 16, and readers.
type load struct {
	url       string
	clock     func() time.Duration
	histories []*history.Recorder
	readers   []*reader
	// sessions are those of the publishers and of the first readers.
	sessions []*session
	quit     chan struct{}
	stop     context.CancelFunc
	publish  sync.WaitGroup
	read     sync.WaitGroup
	mu       sync.Mutex
	failures []error
}

func startLoad(t *testing.T, url string, rooms, perRoom int) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	clock := history.Since(time.Now())
	l := &load{url: url, clock: clock, quit: make(chan struct{}), stop: cancel}
	t.Cleanup(func() {
		cancel()
		l.publish.Wait()
		l.read.Wait()
	})
	for i := range rooms {
		h := history.NewRecorder(fmt.Sprintf("crash-%d", i), clock)
		l.histories = append(l.histories, h)
		for j := range perRoom {
			p := &publisher{session: session{url: url, h: h}, name: fmt.Sprintf("publisher-%d", j), window: 16, quit: l.quit}
			p.record = h.Producer(p.name, false)
			l.sessions = append(l.sessions, &p.session)
			l.publish.Go(func() {
				if err := p.run(ctx); err != nil {
					l.mu.Lock()
					l.failures = append(l.failures, err)
					l.mu.Unlock()
				}
			})
		}
		for j := range 2 {
			r := newReader(fmt.Sprintf("reader-%d", j), url, h)
			l.readers, l.sessions = append(l.readers, r), append(l.sessions, &r.session)
			l.read.Go(func() { r.run(ctx) })
		}
	}
	return l
}

func (l *load) acknowledged() int {
	total := 0
	for _, h := range l.histories {
		total += h.Acks()
	}
	return total
}

// awaitProgress waits until publishes are acknowledged again: a room has a writer (L3).
func (l *load) awaitProgress(t *testing.T) {
	t.Helper()
	before := l.acknowledged()
	require.Eventually(t, func() bool { return l.acknowledged() > before+50 }, 10*time.Second, 5*time.Millisecond,
		"publishes are acknowledged again within seconds (L3)")
}

// finish lets every publish be answered, waits for the readers to reach the head, and checks everything.
func (l *load) finish(t *testing.T) {
	t.Helper()
	close(l.quit)
	answered := make(chan struct{})
	go func() {
		l.publish.Wait()
		close(answered)
	}()
	select {
	case <-answered:
	case <-time.After(2 * answerWithin):
		require.FailNow(t, "publishes stayed unanswered (L1)")
	}
	require.Empty(t, l.failures)

	total, slowest := 0, time.Duration(0)
	for _, h := range l.histories {
		content := l.readBack(t.Context(), t, h)
		total += len(content)
		head := content[len(content)-1].Seq
		for _, r := range l.readers {
			if r.h != h {
				continue
			}
			healed, cancel := context.WithTimeout(t.Context(), answerWithin)
			err := r.await(healed, head)
			cancel()
			require.NoError(t, err, "L2")
		}
		record := h.Record()
		record.Content = content
		require.Empty(t, history.Check(record, history.DefaultBounds()))
		slowest = max(slowest, slowestAnswer(record))
	}
	l.stop()
	t.Logf("%d messages stored, %d acknowledged, 0 violations; the slowest answer took %v", total, l.acknowledged(),
		slowest.Round(time.Millisecond))
}

// readBack reads a whole room page by page through a new connection.
func (l *load) readBack(ctx context.Context, t *testing.T, h *history.Recorder) []*history.Entry {
	t.Helper()
	who := session{url: l.url, h: h}
	socket, err := who.open(ctx, "")
	require.NoError(t, err)
	defer func() { _ = socket.CloseNow() }()
	var content []*history.Entry
	for cursor := uint64(0); ; cursor = content[len(content)-1].Seq {
		ask := fmt.Sprintf(`{"history":{"room_id":%q,"after_seq":"%d","limit":500}}`, h.Room(), cursor)
		require.NoError(t, socket.Write(ctx, websocket.MessageText, []byte(ask)))
		page := readPage(ctx, t, socket)
		for _, m := range page.Messages {
			e := m.entry()
			content = append(content, &e)
		}
		if !page.More {
			return content
		}
	}
}

func slowestAnswer(r *history.Record) (slowest time.Duration) {
	for _, c := range r.Chains {
		for _, a := range c.Attempts {
			slowest = max(slowest, a.Answered-a.Asked)
		}
	}
	return slowest
}

func readPage(ctx context.Context, t *testing.T, socket *websocket.Conn) *historyPage {
	t.Helper()
	for {
		f, err := readFrame(ctx, socket)
		require.NoError(t, err)
		require.Nil(t, f.Error)
		if f.HistoryPage != nil {
			return f.HistoryPage
		}
	}
}

func environment(t *testing.T, name string, fallback int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return fallback
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	return n
}

// wait lets the server run on for a random while: the moment of the kill is the point of the test.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
