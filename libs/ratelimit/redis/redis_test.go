package redis_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-rt/parley/libs/ratelimit"
	"github.com/parley-rt/parley/libs/ratelimit/ratelimittest"
	"github.com/parley-rt/parley/libs/ratelimit/redis"
	"github.com/parley-rt/parley/libs/ratelimit/redistest"
)

// server is one that all tests share that do it no harm. Each has a database of its own.
var (
	server    *redistest.Server //nolint:gochecknoglobals // made by TestMain
	databases atomic.Int32      //nolint:gochecknoglobals // in use
)

func TestMain(m *testing.M) {
	ratelimittest.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	var err error
	if server, err = redistest.New(ctx, "--databases", "1000"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent(), goleak.Cleanup(func(code int) {
		cancel()
		if err := server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	}))
}

func openAt(t *testing.T, url string) ratelimit.Store {
	t.Helper()
	s, err := redis.Open(url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// empty returns the address of a database that nobody else uses.
func empty() string { return "redis://" + server.Addr() + "/" + strconv.Itoa(int(databases.Add(1))) }

func TestStore(t *testing.T) {
	t.Parallel()
	ratelimittest.RunStore(t, func(t *testing.T) ratelimit.Store { return openAt(t, empty()) })
}

func TestLimiter(t *testing.T) {
	t.Parallel()
	ratelimittest.RunLimiter(t, true, func(*testing.T) ratelimittest.Make {
		url := empty()
		return func(t *testing.T, node string, nodes int) *ratelimit.Limiter {
			l, err := ratelimit.New(ratelimit.Config{Node: node, Nodes: func() int { return nodes }}, openAt(t, url))
			require.NoError(t, err)
			return l
		}
	})
}

// An address with a password is not repeated.
func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"redis://localhost:6379", "redis://user:secret@redis.example:6380/3", "rediss://redis.example", "unix:///run/redis.sock"} {
		require.NoError(t, redis.Check(good))
	}
	for _, bad := range []string{"", "localhost:6379", "http://:secret@x", "redis://:secret@host:port:6379/x", "redis://:secret@h/notanumber"} {
		err := redis.Check(bad)
		require.Error(t, err, bad)
		require.NotContains(t, err.Error(), "secret")
		_, err = redis.Open(bad)
		require.Error(t, err, bad)
		require.NotContains(t, err.Error(), "secret")
	}
}

// Keys end by themselves, so that Redis does not fill up.
func TestKeysExpire(t *testing.T) {
	t.Parallel()
	s := openAt(t, server.URL()) // database 0 is this test's
	_, err := server.Do(t.Context(), "FLUSHDB")
	require.NoError(t, err)
	_, err = s.Sync(t.Context(), "a", []ratelimit.Report{{Key: "k", Used: [2]time.Duration{time.Second, 0}, Most: [2]time.Duration{time.Minute, time.Minute}}})
	require.NoError(t, err)
	_, ok, err := s.Take(t.Context(), "t", [2]time.Duration{time.Minute, 0}, [2]time.Duration{time.Minute, 0})
	require.NoError(t, err)
	require.True(t, ok)
	for _, key := range []string{"k", "t"} {
		left, err := server.Do(t.Context(), "PTTL", "parley:ratelimit:"+key)
		require.NoError(t, err)
		ms, err := strconv.Atoi(left)
		require.NoError(t, err)
		require.LessOrEqual(t, ms, 61_000)
		require.NotEqual(t, -1, ms, "%s stays for ever", key)
	}
}
