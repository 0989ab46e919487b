package etcd

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/etcd/etcdtest"
)

// checker stands for the server's check of a password. It takes a second.
type checker struct {
	of    *login
	asked atomic.Int64
	err   error // the answer; nil gives a token
}

func (c *checker) authenticate(ctx context.Context, user, password string) (*clientv3.AuthenticateResponse, error) {
	c.asked.Add(1)
	if metadata, err := c.of.GetRequestMetadata(ctx); err != nil || len(metadata) > 0 {
		return nil, rpctypes.ErrInvalidAuthToken
	}
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.err != nil {
		return nil, c.err
	}
	return &clientv3.AuthenticateResponse{Token: user + password}, nil
}

func (c *checker) login(t *testing.T) *login {
	t.Helper()
	l := newLogin("u", "p")
	l.authenticate, c.of = c.authenticate, l
	t.Cleanup(l.close)
	return l
}

// pass lets time pass in a bubble.
func pass(d time.Duration) { <-time.After(d) }

func token(t *testing.T, l *login) string {
	t.Helper()
	metadata, err := l.GetRequestMetadata(t.Context())
	require.NoError(t, err)
	return metadata["token"]
}

func TestOneTokenForEverybody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &checker{}
		l := c.login(t)
		require.Empty(t, token(t, l))
		short, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		require.ErrorIs(t, l.ensure(short), context.DeadlineExceeded, "who has no time does not end the attempt")
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { require.NoError(t, l.ensure(t.Context())) })
		}
		wg.Wait()
		require.EqualValues(t, 1, c.asked.Load())
		require.Equal(t, "up", token(t, l))

		pass(time.Hour)
		require.NoError(t, l.ensure(t.Context()))
		require.EqualValues(t, 1, c.asked.Load(), "a token is used until it is refused")
		for range 10 { // calls that were under way
			require.ErrorIs(t, l.note(rpctypes.ErrInvalidAuthToken), rpctypes.ErrInvalidAuthToken)
		}
		require.NoError(t, l.ensure(t.Context()))
		_ = l.note(rpctypes.ErrGRPCInvalidAuthToken) // a late one of them
		require.NoError(t, l.ensure(t.Context()))
		require.EqualValues(t, 2, c.asked.Load())
		pass(callsEnd + 1)
		require.NoError(t, l.note(nil))
		_ = l.note(rpctypes.ErrPermissionDenied)
		require.NoError(t, l.ensure(t.Context()))
		require.EqualValues(t, 2, c.asked.Load(), "a new token would not change that")
	})
}

func TestRefusedPasswordIsNotRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &checker{err: rpctypes.ErrAuthFailed}
		l := c.login(t)
		for range 20 {
			require.ErrorIs(t, l.ensure(t.Context()), rpctypes.ErrAuthFailed)
			pass(100 * time.Millisecond)
		}
		require.EqualValues(t, 1, c.asked.Load())
		c.err = nil
		pass(loginPause)
		require.NoError(t, l.ensure(t.Context()))
		require.EqualValues(t, 2, c.asked.Load())
	})
}

func TestUnreachableServerIsAskedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		away := errors.New("connection refused")
		c := &checker{err: away}
		l := c.login(t)
		require.ErrorIs(t, l.ensure(t.Context()), away)
		require.ErrorIs(t, l.ensure(t.Context()), away)
		require.EqualValues(t, 1, c.asked.Load(), "who was kept waiting lets others go first")
		pass(time.Second)
		require.ErrorIs(t, l.ensure(t.Context()), away)
		require.EqualValues(t, 2, c.asked.Load())
		pass(time.Second)
		c.err = rpctypes.ErrAuthNotEnabled
		require.NoError(t, l.ensure(t.Context()), "a password that nobody asks for harms nobody")
		require.Empty(t, token(t, l))
		c.err = nil
		pass(callsEnd + 1)
		_ = l.note(rpctypes.ErrUserEmpty) // now somebody does
		require.NoError(t, l.ensure(t.Context()))
		require.Equal(t, "up", token(t, l))
	})
}

// TestManyLogInAtOnce: etcd has forgotten all tokens and everybody comes at once. Checks take far more time together than a
// call has, and yet each process needs one.
func TestManyLogInAtOnce(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t, etcdtest.Options{})
	withUser(t, server)
	const processes = 20
	cfg := Config{Endpoints: []string{server.Addr()}, Username: "parley", Password: "parley right"}
	var all []dcplane.Directory
	for range processes {
		all = append(all, openAndClose(t, cfg))
	}
	for _, d := range all {
		require.NoError(t, dcplane.AwaitReady(within(t), d))
	}
	server.Kill(t)
	server.Restart(t, false)
	seen := time.Now()
	for _, d := range all {
		require.Eventually(t, func() bool { return d.Ready() && d.LastRefresh().After(seen) }, patience, 10*time.Millisecond)
	}
}
