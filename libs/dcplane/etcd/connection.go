package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// connection makes the client when it is first needed: with a password that takes an answer from the server, and the
// directory must open without one.
type connection struct {
	cfg Config
	// turn is held while the client is made and guards the fields below it.
	turn   chan struct{}
	client *clientv3.Client
	closed bool

	mu sync.Mutex
	// refusal is the last refusal of the password; until then nothing is asked.
	refusal      error
	refusedUntil time.Time
}

var errClosed = errors.New("connection closed")

func (c *connection) get(ctx context.Context) (*clientv3.Client, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.closed {
		return nil, errClosed
	}
	if err := c.refused(); err != nil {
		return nil, err
	}
	if c.client != nil {
		return c.client, nil
	}
	client, err := clientv3.New(c.config(ctx))
	if err != nil {
		return nil, c.note(explain("log in", err))
	}
	c.client = client
	return client, nil
}

// refusedFor is how long nothing is asked after a password was refused: to check one costs etcd a tenth of a second, and
// every process of a deployment would ask for it several times a second.
const refusedFor = 5 * time.Second

// note remembers a refused password, and returns err.
func (c *connection) note(err error) error {
	if errors.Is(err, rpctypes.ErrAuthFailed) || errors.Is(err, rpctypes.ErrGRPCAuthFailed) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.refusal, c.refusedUntil = err, time.Now().Add(refusedFor)
	}
	return err
}

func (c *connection) refused() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Now().Before(c.refusedUntil) {
		return c.refusal
	}
	return nil
}

func (c *connection) close() {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	c.closed = true
	if c.client != nil {
		_ = c.client.Close() // says that its context is canceled
	}
}

const (
	// loginTimeout bounds the check of a password.
	loginTimeout = 2 * time.Second
	// A frozen server or a cut cable shows no error. Pings find it: gRPC sends none more often than this.
	pingEvery   = 10 * time.Second
	pingTimeout = 2 * time.Second
	// maxReconnectDelay keeps a renewal possible within the lease when an outage ends.
	maxReconnectDelay = 500 * time.Millisecond
)

func (c *connection) config(ctx context.Context) clientv3.Config {
	scheme := "http://"
	if c.cfg.TLS != nil {
		scheme = "https://"
	}
	endpoints := make([]string, len(c.cfg.Endpoints))
	for i, endpoint := range c.cfg.Endpoints {
		endpoints[i] = scheme + endpoint
	}
	login := loginTimeout
	if deadline, ok := ctx.Deadline(); ok {
		login = max(min(login, time.Until(deadline)), time.Millisecond) // 0 would mean for ever
	}
	return clientv3.Config{
		Endpoints: endpoints, TLS: c.cfg.TLS, Username: c.cfg.Username, Password: c.cfg.Password,
		DialTimeout: login, DialKeepAliveTime: pingEvery, DialKeepAliveTimeout: pingTimeout, PermitWithoutStream: true,
		// Calls are repeated by who made them. Once more is for a token that has expired.
		MaxUnaryRetries: 2,
		Logger:          zap.NewNop(), // what matters shows up as failed calls
		DialOptions: append([]grpc.DialOption{
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff: backoff.Config{
					BaseDelay: maxReconnectDelay / 4, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxReconnectDelay,
				},
				MinConnectTimeout: pingTimeout,
			}),
			grpc.WithChainUnaryInterceptor(failFast),
		}, c.cfg.DialOptions...),
	}
}

// failFast takes back the client's wish to wait for a connection: it would end with a deadline and hide why there is none.
func failFast(
	ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	return next(ctx, method, req, reply, cc, append(opts, grpc.WaitForReady(false))...)
}

// explain turns an error of the client into what a person can use, and one that a deadline caused into that.
func explain(what string, err error) error {
	s, ok := status.FromError(err)
	if !ok || s.Code() == codes.Unknown {
		return fmt.Errorf("etcd: %s: %w", what, err)
	}
	if s.Code() == codes.DeadlineExceeded {
		return fmt.Errorf("etcd: %s: %s: %w", what, s.Message(), context.DeadlineExceeded)
	}
	return fmt.Errorf("etcd: %s: %w", what, &callError{code: s.Code(), message: s.Message(), cause: err})
}

// callError shows what a server or the way to it said without gRPC's decoration.
type callError struct {
	code    codes.Code
	message string
	cause   error
}

func (e *callError) Error() string {
	if e.code == codes.Unavailable {
		return e.message
	}
	return fmt.Sprintf("%s (%s)", e.message, e.code)
}

func (e *callError) Unwrap() error { return e.cause }
