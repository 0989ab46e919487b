package pgtest_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence/persistencetest/pgtest"
)

func TestClusterIsSetUpForDurability(t *testing.T) {
	t.Parallel()
	require.Equal(t, "postgres://parley@"+shared.Addr()+"/parley?sslmode=disable", shared.URL())
	for name, want := range map[string]string{
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "wal_level": "replica", "max_connections": "200",
		"listen_addresses": "127.0.0.1", "server_encoding": "UTF8", "TimeZone": "UTC",
	} {
		var got string
		require.NoError(t, shared.QueryRow(limited(t), "SELECT current_setting($1)", name).Scan(&got))
		require.Equal(t, want, got, name)
	}
}

func TestSettingsOverrule(t *testing.T) {
	t.Parallel()
	c := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"max_connections": "20", "application_name": "it's"}})
	var connections, name string
	require.NoError(t, c.QueryRow(limited(t), "SELECT current_setting('max_connections'), current_setting('application_name')").
		Scan(&connections, &name))
	require.Equal(t, "20", connections)
	require.Equal(t, "it's", name)
}

// What was acknowledged is there after every process was killed in the middle of writing.
func TestKill9KeepsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	c := pgtest.Start(t, pgtest.Options{})
	url := c.SchemaURL(t)
	newTable(t, url)
	acked := map[int64]bool{}
	for round := range int64(3) {
		var mu sync.Mutex
		var writers sync.WaitGroup
		enough := make(chan struct{})
		fresh := 0
		for writer := range int64(4) {
			conn := connect(t, url)
			writers.Go(func() {
				for i := range int64(1) << 20 {
					n := round<<40 | writer<<32 | i
					if _, err := conn.Exec(context.Background(), "INSERT INTO number VALUES ($1)", n); err != nil {
						return
					}
					mu.Lock()
					acked[n] = true
					if fresh++; fresh == 100 {
						close(enough)
					}
					mu.Unlock()
				}
			})
		}
		<-enough
		pid := c.PID()
		require.NoError(t, c.Kill9())
		writers.Wait()
		require.Zero(t, c.PID())
		require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
		_, err := net.Dial("tcp", c.Addr())
		require.ErrorIs(t, err, syscall.ECONNREFUSED, "no process of it listens")

		begin := time.Now()
		require.NoError(t, c.StartAgain(limited(t)))
		t.Logf("started again after %s", time.Since(begin).Round(time.Millisecond))
		stored := map[int64]bool{}
		for _, n := range numbers(t, url) {
			stored[n] = true
		}
		for n := range acked {
			require.True(t, stored[n], "row %x was acknowledged", n)
		}
	}
}

// The children of a killed postmaster live on until they notice; the next start waits for them.
func TestKillPostmasterAlone(t *testing.T) {
	t.Parallel()
	c := pgtest.Start(t, pgtest.Options{})
	url := c.SchemaURL(t)
	newTable(t, url)
	conn := connect(t, url)
	begun := make(chan struct{})
	result := make(chan error, 1)
	go func() {
		close(begun)
		// A statement that waits for nothing notices nothing.
		_, err := conn.Exec(context.Background(), "INSERT INTO number SELECT sum(n) FROM generate_series(1, 3000000) n")
		result <- err
	}()
	<-begun
	require.NoError(t, c.KillPostmaster())
	require.ErrorIs(t, c.KillPostmaster(), pgtest.ErrNotRunning)
	require.NoError(t, c.StartAgain(limited(t)))
	if err := <-result; err == nil {
		require.Equal(t, []int64{4500001500000}, numbers(t, url))
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	c := pgtest.Start(t, pgtest.Options{})
	url := c.SchemaURL(t)
	newTable(t, url)
	addr := c.Addr()
	require.ErrorContains(t, c.Stop(limited(t), "slow"), "unknown mode")
	for i, mode := range []string{"fast", "immediate", "smart"} {
		require.ErrorContains(t, c.StartAgain(limited(t)), "runs already")
		require.NoError(t, c.Exec(limited(t), "INSERT INTO "+schemaOf(t, url)+".number VALUES ($1)", i))
		require.NoError(t, c.Stop(limited(t), mode))
		require.ErrorIs(t, c.Stop(limited(t), mode), pgtest.ErrNotRunning)
		require.ErrorIs(t, c.Kill9(), pgtest.ErrNotRunning)
		require.ErrorIs(t, c.Pause(), pgtest.ErrNotRunning)
		begin := time.Now()
		require.NoError(t, c.StartAgain(limited(t)))
		t.Logf("started again after a %s stop in %s", mode, time.Since(begin).Round(time.Millisecond))
		require.Equal(t, addr, c.Addr())
	}
	require.Equal(t, []int64{0, 1, 2}, numbers(t, url))
}

func schemaOf(t *testing.T, url string) string {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	require.NoError(t, err)
	return config.RuntimeParams["search_path"]
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	c := pgtest.Start(t, pgtest.Options{})
	open := connect(t, c.URL())
	require.NoError(t, c.Resume(), "not paused")
	for range 2 {
		require.NoError(t, c.Pause())
		require.NoError(t, c.Pause(), "paused already")
		short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		require.ErrorIs(t, c.Exec(short, "SELECT 1"), context.DeadlineExceeded, "a new connection hangs")
		cancel()
		answered := make(chan error, 1)
		go func() {
			_, err := open.Exec(context.Background(), "SELECT 1")
			answered <- err
		}()
		select {
		case err := <-answered:
			require.FailNow(t, "a paused server answered", "%v", err)
		case <-time.After(200 * time.Millisecond):
		}
		require.NoError(t, c.Resume())
		require.NoError(t, <-answered, "the open connection goes on")
		require.NoError(t, c.Exec(limited(t), "SELECT 1"))
	}
	require.NoError(t, c.Pause())
	require.Error(t, c.KillPostmaster())
	require.NoError(t, c.Kill9())
	require.NoError(t, c.StartAgain(limited(t)))
	require.NoError(t, c.Exec(limited(t), "SELECT 1"))
	require.NoError(t, c.Pause(), "a paused cluster can be closed")
}

func TestSchemaIsDroppedWithItsTest(t *testing.T) {
	t.Parallel()
	var urls []string
	t.Run("a test", func(t *testing.T) {
		for range 2 {
			url := shared.SchemaURL(t)
			newTable(t, url)
			urls = append(urls, url)
		}
	})
	require.NotEqual(t, urls[0], urls[1])
	for _, url := range urls {
		require.True(t, strings.HasPrefix(url, shared.URL()+"&search_path="))
		var there bool
		err := shared.QueryRow(limited(t), "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", schemaOf(t, url)).Scan(&there)
		require.NoError(t, err)
		require.False(t, there)
	}
}

// A synchronous standby has everything that its primary acknowledged.
func TestStandbyTakesOver(t *testing.T) {
	t.Parallel()
	primary := pgtest.Start(t, pgtest.Options{})
	begin := time.Now()
	standby, err := primary.Standby(limited(t), "it's s1", pgtest.Options{})
	require.NoError(t, err)
	t.Logf("the standby streamed after %s", time.Since(begin).Round(time.Millisecond))
	require.NoError(t, primary.Exec(limited(t), `ALTER SYSTEM SET synchronous_standby_names = '"it''s s1"'`))
	require.NoError(t, primary.Exec(limited(t), "SELECT pg_reload_conf()"))
	require.NoError(t, primary.Exec(limited(t), "SET synchronous_commit = remote_apply; CREATE TABLE number (n bigint PRIMARY KEY)"))
	require.Eventually(t, func() bool {
		var state string
		err := primary.QueryRow(limited(t), "SELECT sync_state FROM pg_stat_replication").Scan(&state)
		return err == nil && state == "sync"
	}, patience, 10*time.Millisecond)
	for n := range 20 {
		require.NoError(t, primary.Exec(limited(t), "INSERT INTO number VALUES ($1)", n))
	}
	var refused *pgconn.PgError
	require.ErrorAs(t, standby.Exec(limited(t), "INSERT INTO number VALUES (99)"), &refused)
	require.Equal(t, "25006", refused.Code, "read only")

	require.NoError(t, primary.Kill9())
	begin = time.Now()
	require.NoError(t, standby.Promote(limited(t)))
	t.Logf("promoted after %s", time.Since(begin).Round(time.Millisecond))
	require.NoError(t, standby.Exec(limited(t), "INSERT INTO number VALUES (99)"))
	require.Len(t, numbers(t, standby.URL()), 21)

	next, err := standby.Standby(limited(t), "s2", pgtest.Options{})
	require.NoError(t, err)
	require.Error(t, next.Exec(limited(t), "INSERT INTO number VALUES (100)"))
}

func TestDiskFillsUpAndIsFreed(t *testing.T) {
	t.Parallel()
	disk := pgtest.SmallDisk(t, 128)
	c := pgtest.Start(t, pgtest.Options{DataDir: disk, Settings: map[string]string{"max_wal_size": "32MB"}})
	require.NoError(t, c.Exec(limited(t), "CREATE TABLE text (t text)"))
	insert := func() error {
		return c.Exec(limited(t), "INSERT INTO text SELECT repeat('x', 500) FROM generate_series(1, 100)")
	}
	require.NoError(t, insert())
	require.NoError(t, pgtest.Fill(disk))
	require.Eventually(t, func() bool {
		var full *pgconn.PgError
		err := insert()
		return errors.As(err, &full) && full.Code == "53100"
	}, patience, time.Millisecond, "a full disk is reported")
	require.NoError(t, pgtest.Free(disk))
	require.NoError(t, pgtest.Free(disk), "there is nothing to free")
	require.Eventually(t, func() bool { return insert() == nil }, patience, 10*time.Millisecond)

	require.ErrorContains(t, pgtest.Fill(t.TempDir()), "not one to fill")
}

func TestCloseRemovesEverything(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.Chmod(filepath.Dir(filepath.Dir(data)), 0o711)) // the test's directories are closed to other users
	require.NoError(t, os.Chmod(filepath.Dir(data), 0o711))
	c, err := pgtest.New(limited(t), pgtest.Options{DataDir: data})
	require.NoError(t, err)
	pid := c.PID()
	entries, err := os.ReadDir(data)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.NoError(t, c.Close())
	require.NoError(t, c.Close(), "once more is fine")
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
	entries, err = os.ReadDir(data)
	require.NoError(t, err)
	require.Empty(t, entries)
}

// A start that fails says what the server said.
func TestStartTellsWhyItFailed(t *testing.T) {
	t.Parallel()
	_, err := pgtest.New(limited(t), pgtest.Options{Settings: map[string]string{"no_such_setting": "1"}})
	require.ErrorContains(t, err, "no_such_setting")
}

// A cluster may have an address of its own, from which it lets clients in.
func TestClusterListensOnItsHost(t *testing.T) {
	t.Parallel()
	c := pgtest.Start(t, pgtest.Options{Host: "127.0.0.2"})
	require.True(t, strings.HasPrefix(c.Addr(), "127.0.0.2:"), c.Addr())
	require.Contains(t, c.URL(), c.Addr())
	conn, err := pgx.Connect(t.Context(), c.URL())
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
}
