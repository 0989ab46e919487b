package pgtest_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence/persistencetest/pgtest"
)

// broken is a table behind a proxy, and its direct address.
type broken struct {
	*pgtest.Proxy
	url, direct string
}

func newBroken(t *testing.T) *broken {
	t.Helper()
	proxy, err := pgtest.NewProxy(shared.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, proxy.Close()) })
	url := shared.SchemaURLVia(t, proxy)
	b := &broken{Proxy: proxy, url: url, direct: strings.Replace(url, proxy.Addr(), shared.Addr(), 1)}
	newTable(t, b.direct)
	return b
}

func insert(ctx context.Context, conn *pgx.Conn, n int64) error {
	_, err := conn.Exec(ctx, "INSERT INTO number VALUES ($1)", n)
	return err
}

func TestProxyPassesEverything(t *testing.T) {
	t.Parallel()
	b := newBroken(t)
	conn := connect(t, b.url)
	require.NoError(t, insert(limited(t), conn, 1))
	b.LoseAnswers(-1, "NO SUCH COMMAND") // which makes it hold answers
	var text string
	for _, size := range []int{10, 100_000, 5 << 20} {
		require.NoError(t, conn.QueryRow(limited(t), "SELECT repeat('x', $1)", size).Scan(&text))
		require.Equal(t, strings.Repeat("x", size), text)
	}
	n, err := conn.CopyFrom(limited(t), pgx.Identifier{"number"}, []string{"n"}, pgx.CopyFromSlice(1000, func(i int) ([]any, error) {
		return []any{int64(i + 2)}, nil
	}))
	require.NoError(t, err)
	require.EqualValues(t, 1000, n)
	require.Len(t, numbers(t, b.url), 1001)
	require.Equal(t, pgtest.Counts{Connections: 2}, b.Counts())
}

func TestLostAnswers(t *testing.T) {
	t.Parallel()
	b := newBroken(t)
	conn := connect(t, b.url)
	b.LoseAnswers(1, "INSERT")
	_, err := conn.Exec(limited(t), "SELECT 1")
	require.NoError(t, err, "an answer of another kind")
	err = insert(limited(t), conn, 1)
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.Equal(t, []int64{1}, numbers(t, b.direct), "the request was executed")
	require.NoError(t, insert(limited(t), connect(t, b.url), 2), "only one answer was to be lost")
	require.Equal(t, 1, b.Counts().LostAnswers)

	b.LoseAnswers(1, "COMMIT")
	tx, err := connect(t, b.url).Begin(limited(t))
	require.NoError(t, err)
	_, err = tx.Exec(limited(t), "INSERT INTO number VALUES (3)")
	require.NoError(t, err)
	require.Error(t, tx.Commit(limited(t)))
	require.Equal(t, []int64{1, 2, 3}, numbers(t, b.direct))

	b.LoseAnswers(-1)
	for range 3 {
		_, err := connect(t, b.url).Exec(limited(t), "SELECT 1")
		require.Error(t, err)
	}
	require.Equal(t, 5, b.Counts().LostAnswers)
	b.Heal()
	require.Len(t, numbers(t, b.url), 3)
}

func TestAnswersLostAtRandom(t *testing.T) {
	t.Parallel()
	b := newBroken(t)
	b.LoseAnswersAtRate(0.5, "INSERT")
	failed := 0
	for n := range int64(40) {
		if insert(limited(t), connect(t, b.url), n) != nil {
			failed++
		}
	}
	require.Equal(t, failed, b.Counts().LostAnswers)
	require.NotZero(t, failed)
	require.Less(t, failed, 40)
	b.LoseAnswersAtRate(0)
	require.Len(t, numbers(t, b.url), 40)
}

func TestHalfClosedConnection(t *testing.T) {
	t.Parallel()
	b := newBroken(t)
	conn := connect(t, b.url)
	b.HalfClose(1, "INSERT")
	err := insert(limited(t), conn, 1)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, []int64{1}, numbers(t, b.url))
	require.Equal(t, 1, b.Counts().HalfCloses)
}

func TestDelayedAnswers(t *testing.T) {
	t.Parallel()
	b := newBroken(t)
	conn := connect(t, b.url)
	const delay = 100 * time.Millisecond
	b.DelayAnswers(delay)
	begin := time.Now()
	require.NoError(t, conn.Ping(limited(t)))
	require.GreaterOrEqual(t, time.Since(begin), delay)
	require.Equal(t, 1, b.Counts().DelayedAnswers)

	b.DelayAnswers(time.Hour)
	short, cancel := context.WithTimeout(t.Context(), delay)
	defer cancel()
	require.ErrorIs(t, conn.Ping(short), context.DeadlineExceeded)
}

func TestStall(t *testing.T) {
	t.Parallel()
	for direction, executed := range map[pgtest.Direction]bool{pgtest.ToServer: false, pgtest.ToClient: true, pgtest.Both: false} {
		b := newBroken(t)
		conn := connect(t, b.url)
		require.NoError(t, insert(limited(t), conn, 1))
		b.Stall(direction, time.Hour)
		result := make(chan error, 1)
		go func() { result <- insert(context.Background(), conn, 2) }()
		require.Eventually(t, func() bool { return b.Counts().Stalls > 0 }, patience, time.Millisecond)
		if executed {
			require.Equal(t, []int64{1, 2}, numbers(t, b.direct))
		} else {
			require.Equal(t, []int64{1}, numbers(t, b.direct))
		}
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err := pgx.Connect(short, b.url)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded, "a new connection hangs, too")
		select {
		case err := <-result:
			require.FailNow(t, "it was answered", "%v", err)
		default:
		}
		b.Stall(direction, 0)
		require.NoError(t, <-result, "everything arrives in the end")
		require.Equal(t, []int64{1, 2}, numbers(t, b.url))
	}

	b := newBroken(t)
	conn := connect(t, b.url)
	const long = 100 * time.Millisecond
	begin := time.Now()
	b.Stall(pgtest.Both, long)
	require.NoError(t, conn.Ping(limited(t)), "it ends by itself")
	require.GreaterOrEqual(t, time.Since(begin), long)
}

func TestCutAndRefuse(t *testing.T) {
	t.Parallel()
	b := newBroken(t)
	conns := []*pgx.Conn{connect(t, b.url), connect(t, b.url)}
	require.Equal(t, 2, b.Cut())
	for _, conn := range conns {
		require.Error(t, conn.Ping(limited(t)))
	}
	require.NoError(t, connect(t, b.url).Ping(limited(t)))

	b.Refuse(true)
	_, err := pgx.Connect(limited(t), b.url)
	require.Error(t, err)
	b.Refuse(false)
	require.NoError(t, connect(t, b.url).Ping(limited(t)))
	require.Equal(t, 2, b.Counts().Cuts)
	// A client that gives up a connection also asks, on a new one, to cancel its request.
	require.GreaterOrEqual(t, b.Counts().Refusals, 1)
	require.GreaterOrEqual(t, b.Counts().Connections, 4)
}

func TestProxyFollowsItsTarget(t *testing.T) {
	t.Parallel()
	b := newBroken(t)
	before := connect(t, b.url)
	other := pgtest.Start(t, pgtest.Options{})
	b.SetTarget(other.Addr())
	require.NoError(t, before.Ping(limited(t)), "it stays where it is")
	var port string
	require.NoError(t, connect(t, b.url).QueryRow(limited(t), "SHOW port").Scan(&port))
	require.Equal(t, other.Addr(), net.JoinHostPort("127.0.0.1", port))

	require.NoError(t, other.Kill9())
	_, err := pgx.Connect(limited(t), b.url)
	require.Error(t, err)
	require.NotZero(t, b.Counts().Unreachable)
}

// Every fault at random under many connections: every acknowledged row is there, everything ends, nothing leaks.
func TestFaultsTogether(t *testing.T) {
	t.Parallel()
	b := newBroken(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var mu sync.Mutex
	acked := map[int64]bool{}
	var clients sync.WaitGroup
	for client := range int64(8) {
		clients.Go(func() {
			for n := client << 32; ctx.Err() == nil; {
				conn, err := pgx.Connect(ctx, b.url)
				for err == nil {
					n++
					if err = insert(ctx, conn, n); err == nil {
						mu.Lock()
						acked[n] = true
						mu.Unlock()
					}
				}
				if conn != nil {
					_ = conn.Close(ctx)
				}
			}
		})
	}
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for ctx.Err() == nil {
		<-ticker.C
		switch rand.IntN(8) {
		case 0:
			b.LoseAnswersAtRate(0.05)
		case 1:
			b.HalfClose(2)
		case 2:
			b.DelayAnswers(time.Millisecond)
		case 3:
			b.Stall(pgtest.Direction(rand.IntN(3)), 20*time.Millisecond)
		case 4:
			b.Cut()
		case 5:
			b.Refuse(rand.IntN(2) == 0)
		default:
			b.Heal()
		}
	}
	clients.Wait()
	t.Logf("%d rows acknowledged, %+v", len(acked), b.Counts())
	b.Heal()
	stored := map[int64]bool{}
	for _, n := range numbers(t, b.url) {
		stored[n] = true
	}
	for n := range acked {
		require.True(t, stored[n])
	}
	require.NotEmpty(t, acked)
}
