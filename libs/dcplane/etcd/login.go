package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// login keeps a token, for clusters with authentication. The client would check the password for every stream it opens and
// give each check the time of a call. A check costs etcd a tenth of a second of a processor, so a hundred processes that
// come back at once would overload it, fail, and keep it overloaded. Here a token is asked for once, is used until it is
// refused, and an attempt in flight is waited for by everybody.
type login struct {
	user, password string
	authenticate   func(ctx context.Context, user, password string) (*clientv3.AuthenticateResponse, error)

	life context.Context // of attempts
	end  context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex
	valid   bool // as far as is known
	token   string
	since   time.Time     // when it was given
	attempt chan struct{} // closed when the attempt in flight has ended; nil when there is none
	failure error         // of the last attempt
	next    time.Time     // no attempt before
}

func newLogin(user, password string) *login {
	l := &login{user: user, password: password}
	l.life, l.end = context.WithCancel(context.Background())
	return l
}

const (
	// loginTimeout is what a check of the password may take when many ask for it.
	loginTimeout = 30 * time.Second
	// loginPause follows a refused password. It is the longest one after other failures, which are as long as the attempt
	// was, so that those whom an overloaded server turned away do not come back together.
	loginPause = 10 * time.Second
	// callsEnd is when every call has ended that was made with the token before.
	callsEnd = 2 * time.Second
)

// ensure waits for a token, for one attempt at most.
func (l *login) ensure(ctx context.Context) error {
	if l.user == "" {
		return nil
	}
	attempt, err := l.join()
	if attempt == nil {
		return err
	}
	select {
	case <-attempt:
	case <-ctx.Done():
		return fmt.Errorf("etcd: log in: %w", ctx.Err())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.valid {
		return nil
	}
	return l.failure
}

// join returns the attempt in flight, which it starts if there is none and it is time for one. Nil, and why not, when there
// is nothing to wait for.
func (l *login) join() (<-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.valid:
		return nil, nil
	case l.attempt != nil:
	case time.Now().Before(l.next):
		return nil, l.failure
	default:
		l.attempt = make(chan struct{})
		l.wg.Go(l.try)
	}
	return l.attempt, nil
}

func (l *login) try() {
	ctx, cancel := context.WithTimeout(l.life, loginTimeout)
	defer cancel()
	l.mu.Lock()
	l.token = "" // some releases refuse to check a password that comes with a token they do not know
	l.mu.Unlock()
	began := time.Now()
	answer, err := l.authenticate(ctx, l.user, l.password)
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.attempt)
	l.attempt = nil
	switch {
	case err == nil:
		l.valid, l.token, l.since, l.failure = true, answer.Token, time.Now(), nil
	case errors.Is(err, rpctypes.ErrAuthNotEnabled):
		l.valid, l.token, l.since, l.failure = true, "", time.Now(), nil
	default:
		l.failure = explain("log in", err)
		pause := min(time.Since(began), loginPause)
		if errors.Is(err, rpctypes.ErrAuthFailed) {
			pause = loginPause
		}
		l.next = time.Now().Add(pause - rand.N(pause/2+1))
	}
}

// note gives up a token that was refused, and returns err.
func (l *login) note(err error) error {
	for _, refusal := range []error{
		rpctypes.ErrInvalidAuthToken, rpctypes.ErrGRPCInvalidAuthToken, rpctypes.ErrAuthOldRevision, rpctypes.ErrGRPCAuthOldRevision,
		rpctypes.ErrUserEmpty, rpctypes.ErrGRPCUserEmpty,
	} {
		if errors.Is(err, refusal) {
			l.mu.Lock()
			defer l.mu.Unlock()
			if time.Since(l.since) > callsEnd {
				l.valid = false
			}
		}
	}
	return err
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (l *login) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.token == "" {
		return nil, nil
	}
	return map[string]string{rpctypes.TokenFieldNameGRPC: l.token}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials. Whether to use TLS is the operator's decision.
func (l *login) RequireTransportSecurity() bool { return false }

func (l *login) close() {
	l.end()
	l.wg.Wait()
}
