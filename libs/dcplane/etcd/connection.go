package etcd

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// A frozen server or a cut cable shows no error. Pings find it: gRPC sends none more often than this. The time for an
	// answer, also to a new connection, is that of an overloaded server: to give up sooner would only add to its load.
	pingEvery   = 10 * time.Second
	pingTimeout = 5 * time.Second
	// maxReconnectDelay keeps a renewal possible within the lease when an outage ends.
	maxReconnectDelay = 500 * time.Millisecond
)

// connect makes a client, which connects when it is used, and again for ever.
func connect(cfg Config, l *login) (*clientv3.Client, error) {
	scheme := "http://"
	if cfg.TLS != nil {
		scheme = "https://"
	}
	endpoints := make([]string, len(cfg.Endpoints))
	for i, endpoint := range cfg.Endpoints {
		endpoints[i] = scheme + endpoint
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, TLS: cfg.TLS,
		DialKeepAliveTime: pingEvery, DialKeepAliveTimeout: pingTimeout, PermitWithoutStream: true,
		MaxUnaryRetries: 1,            // calls are repeated by who made them
		Logger:          zap.NewNop(), // what matters shows up as failed calls
		DialOptions: append([]grpc.DialOption{
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff: backoff.Config{
					BaseDelay: maxReconnectDelay / 4, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxReconnectDelay,
				},
				MinConnectTimeout: pingTimeout,
			}),
			grpc.WithPerRPCCredentials(l),
			grpc.WithChainUnaryInterceptor(failFast),
		}, cfg.DialOptions...),
	})
	if err != nil {
		return nil, fmt.Errorf("make etcd client: %w", err)
	}
	l.authenticate = client.Authenticate
	return client, nil
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
