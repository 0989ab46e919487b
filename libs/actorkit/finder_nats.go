package actorkit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// natsQuiet is how long after an answer another one may come.
	natsQuiet = 250 * time.Millisecond
	// natsFirst is how long the first answer may take: this node's own is one.
	natsFirst = time.Second
	// maxFound bounds the answers to one question.
	maxFound = 1024
)

// NATSServer says where NATS is.
type NATSServer struct {
	// URL may hold credentials and name several servers, separated by commas.
	URL string
	// Options are added to the connection's own: credentials, TLS.
	Options []nats.Option
}

// NATSFinder returns a Finder that asks on a NATS subject who is there. cluster is the subject's last part: all nodes of one
// cluster use the same, and nobody else.
func NATSFinder(server NATSServer, cluster string) Finder {
	return &natsFinder{server: server, subject: "parley.discovery." + encodeName(cluster)}
}

type natsFinder struct {
	server  NATSServer
	subject string

	mu   sync.Mutex
	conn *nats.Conn
	last error // why there is no connection
}

func (f *natsFinder) Open(self string) error {
	conn, err := nats.Connect(f.server.URL, append([]nats.Option{
		nats.Name("parley discovery " + self),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(500 * time.Millisecond),
		nats.ReconnectBufSize(-1),
		nats.Timeout(2 * time.Second),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { f.failed(err) }),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // shows as answers that do not come
	}, f.server.Options...)...)
	if err != nil {
		return fmt.Errorf("connect to nats for discovery: %w", err)
	}
	// Subscriptions survive reconnects, also the first connect.
	if _, err := conn.Subscribe(f.subject, func(m *nats.Msg) { _ = m.Respond([]byte(self)) }); err != nil {
		conn.Close()
		return fmt.Errorf("subscribe for discovery: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conn = conn
	return nil
}

func (f *natsFinder) failed(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = err
}

func (f *natsFinder) connection() (*nats.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.conn == nil:
		return nil, errors.New("discovery by nats is not open")
	case f.conn.IsConnected():
		return f.conn, nil
	case f.last != nil:
		return nil, fmt.Errorf("not connected to nats: %w", f.last)
	default:
		return nil, errors.New("not connected to nats")
	}
}

// Find asks all and listens until nobody has answered for a while.
func (f *natsFinder) Find(ctx context.Context) ([]string, error) {
	conn, err := f.connection()
	if err != nil {
		return nil, err
	}
	inbox := conn.NewRespInbox()
	sub, err := conn.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("listen for nodes on nats: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only with the connection
	if err := conn.PublishRequest(f.subject, inbox, nil); err != nil {
		return nil, fmt.Errorf("ask for nodes on nats: %w", err)
	}
	var found []string
	for wait := natsFirst; len(found) < maxFound; wait = natsQuiet {
		quiet, cancel := context.WithTimeout(ctx, wait)
		m, err := sub.NextMsgWithContext(quiet)
		cancel()
		if err != nil {
			break
		}
		// What is no address is not ours.
		if _, _, err := net.SplitHostPort(string(m.Data)); err == nil {
			found = append(found, string(m.Data))
		}
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("ask for nodes on nats: %w", ctx.Err())
	}
	if len(found) == 0 {
		return nil, errors.New("nobody answers on nats, not even this node")
	}
	return found, nil
}

func (f *natsFinder) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conn != nil {
		f.conn.Close()
		f.conn = nil
	}
	return nil
}
