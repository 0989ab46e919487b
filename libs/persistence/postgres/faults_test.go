package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/persistencetest/pgtest"
	"github.com/parley-rt/parley/libs/persistence/postgres"
)

func event(payload string) []persistence.Event {
	e := persistence.Event{Manifest: "test.v1.Event", Payload: []byte(payload)}
	copy(e.MessageID[:], fmt.Sprintf("%-16s", payload))
	return []persistence.Event{e}
}

func claim(t testing.TB, b persistence.Journal, key persistence.StreamKey) persistence.Claim {
	t.Helper()
	c, err := b.Claim(t.Context(), key, "node-a", persistence.ClaimOptions{})
	require.NoError(t, err)
	return c
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func proxied(t testing.TB, c *pgtest.Cluster) (*pgtest.Proxy, string) {
	t.Helper()
	p, err := pgtest.NewProxy(c.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p, c.SchemaURLVia(t, p)
}

// TestLostAnswer: the server stores an append and the answer is lost; the caller is told that it is stored, and it is there
// once.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	proxy, url := proxied(t, shared)
	b := opened(t, url, postgres.Options{})
	c := claim(t, b, "room/1")
	for i := range 5 {
		before := proxy.Counts()
		proxy.LoseAnswers(1, "INSERT", "SELECT")
		last, err := b.Append(within(t, 20*time.Second), c, uint64(i), event(fmt.Sprint(i)))
		require.NoError(t, err)
		require.EqualValues(t, i+1, last)
		require.Greater(t, proxy.Counts().LostAnswers, before.LostAnswers, "the fault happened")
	}
	events, err := b.Read(t.Context(), "room/1", 1, 100)
	require.NoError(t, err)
	require.Len(t, events, 5)
}

// TestLostAnswerOfFenced: as before, and meanwhile somebody else claimed the stream. The append is stored before the claim, so
// it is acknowledged; the next one is fenced.
func TestLostAnswerOfFenced(t *testing.T) {
	t.Parallel()
	proxy, url := proxied(t, shared)
	b := opened(t, url, postgres.Options{})
	c := claim(t, b, "room/1")
	other := opened(t, direct(url, proxy, shared), postgres.Options{})
	proxy.LoseAnswers(1, "INSERT", "SELECT")
	proxy.Refuse(true) // it cannot come back before the other's claim
	done := make(chan error, 1)
	go func() {
		_, err := b.Append(within(t, 20*time.Second), c, 0, event("mine"))
		done <- err
	}()
	require.Eventually(t, func() bool {
		h, err := other.Head(t.Context(), "room/1")
		return err == nil && h.LastSeq == 1
	}, 10*time.Second, 5*time.Millisecond)
	taken := claim(t, other, "room/1")
	require.EqualValues(t, 1, taken.LastSeq)
	_, err := other.Append(t.Context(), taken, 1, event("theirs"))
	require.NoError(t, err)
	proxy.Refuse(false)
	require.NoError(t, <-done)
	var fenced *persistence.FencedError
	late := within(t, 20*time.Second)
	for _, err = b.Append(late, c, 1, event("late")); errors.Is(err, persistence.ErrUnavailable) && late.Err() == nil; {
		_, err = b.Append(late, c, 1, event("late")) // a dial that the proxy was still refusing
	}
	require.ErrorAs(t, err, &fenced)
	require.Equal(t, &persistence.FencedError{Key: "room/1", MyEpoch: 1, Epoch: 2, Owner: "node-a", LastSeq: 2}, fenced)
}

// direct is the URL of the same schema without the proxy.
func direct(url string, p *pgtest.Proxy, c *pgtest.Cluster) string {
	return strings.Replace(url, p.Addr(), c.Addr(), 1)
}

// TestStall: a connection falls silent without an end. The append is sent again on another one in time for its caller.
func TestStall(t *testing.T) {
	t.Parallel()
	proxy, url := proxied(t, shared)
	b := opened(t, url, postgres.Options{})
	c := claim(t, b, "room/1")
	proxy.Stall(pgtest.ToClient, 1200*time.Millisecond)
	_, err := b.Append(within(t, 10*time.Second), c, 0, event("x"))
	require.NoError(t, err)
	proxy.Stall(pgtest.Both, 3*time.Second)
	_, err = b.Append(within(t, 20*time.Second), c, 1, event("y"))
	require.NoError(t, err)
	events, err := b.Read(t.Context(), "room/1", 1, 100)
	require.NoError(t, err)
	require.Len(t, events, 2)
}

// TestUnknownIsSettledByTheClaim: the caller gives up while the outcome is open; the next claim says what became of it.
func TestUnknownIsSettledByTheClaim(t *testing.T) {
	t.Parallel()
	proxy, url := proxied(t, shared)
	b := opened(t, url, postgres.Options{})
	c := claim(t, b, "room/1")
	proxy.LoseAnswers(1, "INSERT", "SELECT")
	proxy.Refuse(true)
	_, err := b.Append(within(t, 500*time.Millisecond), c, 0, event("x"))
	require.ErrorIs(t, err, persistence.ErrUnknown)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	proxy.Refuse(false)
	require.Eventually(t, func() bool { return b.Ping(t.Context()) == nil }, 10*time.Second, 10*time.Millisecond)
	again := claim(t, b, "room/1")
	require.EqualValues(t, 1, again.LastSeq)
}

// TestBreaker: while the server is away, requests are refused at once; when it is back, so is the journal, by itself.
func TestBreaker(t *testing.T) {
	t.Parallel()
	proxy, url := proxied(t, shared)
	b := opened(t, url, postgres.Options{})
	c := claim(t, b, "room/1")
	proxy.Refuse(true)
	proxy.Cut()
	require.Eventually(t, func() bool {
		_, err := b.Append(within(t, 5*time.Second), c, 0, event("x"))
		require.ErrorIs(t, err, persistence.ErrUnavailable, "nothing was sent: certainly not written")
		begin := time.Now()
		_, err = b.Append(within(t, 5*time.Second), c, 0, event("x"))
		return errors.Is(err, persistence.ErrUnavailable) && time.Since(begin) < 5*time.Millisecond
	}, 20*time.Second, 10*time.Millisecond)
	require.ErrorIs(t, b.Ping(t.Context()), persistence.ErrUnavailable)
	require.ErrorIs(t, b.Release(t.Context(), c), persistence.ErrUnavailable)
	proxy.Refuse(false)
	require.Eventually(t, func() bool {
		last, err := b.Append(within(t, 5*time.Second), c, 0, event("x"))
		return err == nil && last == 1
	}, 20*time.Second, 10*time.Millisecond)
}

// TestDialledOnce: a connection that writes is never dialled a second time, not even to cancel what it was doing; those that
// read may be.
func TestDialledOnce(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	cancels := 0
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &sniffer{Conn: conn, cancel: func() {
			mu.Lock()
			defer mu.Unlock()
			cancels++
		}}, nil
	}
	url := shared.SchemaURL(t)
	b := opened(t, url, postgres.Options{Dial: dial})
	c := claim(t, b, "room/1")

	// Somebody holds the lanes: an append waits until its caller and then its socket give up.
	released := holdLanes(t, url, 4)
	_, err := b.Append(within(t, 2*time.Second), c, 0, event("x"))
	require.ErrorIs(t, err, persistence.ErrUnknown)
	<-released
	require.Eventually(t, func() bool { return b.Ping(within(t, time.Second)) == nil }, 10*time.Second, 10*time.Millisecond)
	mu.Lock()
	defer mu.Unlock()
	require.Zero(t, cancels)
}

// sniffer tells whether its first message is a cancel request.
type sniffer struct {
	net.Conn
	written atomic.Bool
	cancel  func()
}

func (s *sniffer) Write(b []byte) (int, error) {
	if !s.written.Swap(true) && len(b) == 16 && b[4] == 0x04 && b[5] == 0xd2 && b[6] == 0x16 && b[7] == 0x2e {
		s.cancel()
	}
	return s.Conn.Write(b)
}

// holdLanes locks every lane in a session that works, for some seconds; it returns once they are held.
func holdLanes(t testing.TB, url string, seconds int) (released <-chan struct{}) {
	t.Helper()
	holder, watcher, done := connect(t, url), connect(t, url), make(chan struct{})
	go func() {
		defer close(done)
		_, err := holder.Exec(context.Background(), `WITH l AS MATERIALIZED (SELECT * FROM journal_lane ORDER BY lane FOR UPDATE)
			SELECT count(*), pg_sleep($1) FROM l`, seconds)
		if err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { <-done })
	require.Eventually(t, func() bool {
		_, err := watcher.Exec(t.Context(), "SELECT * FROM journal_lane FOR UPDATE NOWAIT")
		return err != nil
	}, 5*time.Second, time.Millisecond)
	return done
}

// TestSilentClientIsEnded: a client that stops in the middle of a batch holds its lane, and no timeout of the server applies
// to it. The first writer that waits for it ends it.
func TestSilentClientIsEnded(t *testing.T) {
	t.Parallel()
	url := shared.SchemaURL(t)
	b := opened(t, url, postgres.Options{})
	c := claim(t, b, "room/1")
	silent, watcher := connect(t, url), connect(t, url)
	out := silent.PgConn().Frontend()
	out.SendParse(&pgproto3.Parse{Query: "SELECT * FROM journal_lane FOR UPDATE"})
	out.SendBind(&pgproto3.Bind{})
	out.SendExecute(&pgproto3.Execute{})
	require.NoError(t, out.Flush()) // and no Sync
	require.Eventually(t, func() bool {
		_, err := watcher.Exec(t.Context(), "SELECT * FROM journal_lane FOR UPDATE NOWAIT")
		return err != nil
	}, 5*time.Second, time.Millisecond)
	_, err := b.Append(within(t, 10*time.Second), c, 0, event("x"))
	require.NoError(t, err)
}

func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close(context.Background()) }) // it may have been ended
	return c
}
