package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// conn is a connection that writes. Its rules keep the outcome of a commit honest:
//
//   - It is dialled once. pgx sends the server a cancel request, over a second connection, whenever it gives up on the
//     first; a cancel request ends a commit's wait for synchronous replication and so makes visible what a failover would
//     take back.
//   - No context ends a statement. When one takes too long the socket is closed, and the outcome is unknown.
//   - A notice that the wait for synchronous replication was canceled, by whomever, makes a success doubtful.
//
// It belongs to one goroutine.
type conn struct {
	*pgx.Conn
	dialer *onceDialer
	// doubtful counts notices of canceled waits.
	doubtful atomic.Int64
	deadline *time.Timer
}

// errReused refuses a second dial of a connection.
var errReused = errors.New("a connection that writes is dialled once")

// onceDialer dials until a connection stands and never again.
type onceDialer struct {
	open func(ctx context.Context, network, addr string) (net.Conn, error)

	mu     sync.Mutex
	sealed bool
}

func (d *onceDialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d.mu.Lock()
	sealed := d.sealed
	d.mu.Unlock()
	if sealed {
		return nil, errReused
	}
	return d.open(ctx, network, addr)
}

func (d *onceDialer) seal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sealed = true
}

// connectWriter opens a connection that writes. Each host gets a few seconds, and twice as many after each time that none
// was in time: a server that all its clients come back to at once is slow, and giving up early only costs it more.
func (b *Backend) connectWriter(ctx context.Context) (*conn, error) {
	c := &conn{dialer: &onceDialer{open: b.opts.Dial}}
	cfg := b.cfg.forWriting(c.dialer)
	cfg.ConnectTimeout <<= min(b.unconnected.Load(), maxConnectDoublings)
	ctx, cancel := context.WithTimeout(ctx, time.Duration(1+len(cfg.Fallbacks))*cfg.ConnectTimeout)
	defer cancel()
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if isCanceledWait(n) {
			c.doubtful.Add(1)
		}
	}
	pg, err := pgx.ConnectConfig(ctx, cfg)
	c.dialer.seal()
	if err != nil {
		if pgconn.Timeout(err) {
			b.unconnected.Add(1)
		}
		return nil, err
	}
	b.unconnected.Store(0)
	c.Conn = pg
	if _, err := pg.PgConn().Exec(ctx, writerSettings).ReadAll(); err != nil {
		c.abort()
		return nil, fmt.Errorf("settings of the connection: %w", err)
	}
	return c, nil
}

// isCanceledWait recognises the warning that comes with the success of a commit that was not waited for. Its text is
// translated by the server; its code is the bare one of warnings, so any warning of a commit counts when not in English.
func isCanceledWait(n *pgconn.Notice) bool {
	if strings.Contains(n.Message, "synchronous replication") {
		return true
	}
	return n.SeverityUnlocalized == "WARNING" && n.Code == "01000" && strings.HasSuffix(n.File, "syncrep.c")
}

// within closes the socket under whatever runs on the connection when d is over. stop tells whether it was in time.
func (c *conn) within(d time.Duration) (stop func() bool) {
	if c.deadline == nil {
		c.deadline = time.AfterFunc(d, c.cut)
	} else {
		c.deadline.Reset(d)
	}
	return c.deadline.Stop
}

// cut closes the socket; whatever waits for an answer fails. What the kernel has not sent yet is dropped, so that a batch
// does not arrive after others have been answered.
func (c *conn) cut() {
	socket := c.PgConn().Conn()
	if encrypted, ok := socket.(*tls.Conn); ok {
		socket = encrypted.NetConn()
	}
	if tcp, ok := socket.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	_ = socket.Close()
}

// abort gives the connection up without a word to the server.
func (c *conn) abort() {
	if c.deadline != nil {
		c.deadline.Stop()
	}
	c.cut()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Conn.Close(ctx) // the socket is closed already; frees what pgx holds
}

// shut says good-bye to the server.
func (c *conn) shut(ctx context.Context) error {
	if c.deadline != nil {
		c.deadline.Stop()
	}
	return c.Conn.Close(ctx)
}

// requireReadWrite passes over servers that refuse writes: standbys, and primaries that were demoted.
func requireReadWrite(ctx context.Context, pg *pgconn.PgConn) error {
	return pgconn.ValidateConnectTargetSessionAttrsReadWrite(ctx, pg)
}
