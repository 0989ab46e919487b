package actorkit

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
)

// aliveTimeout is how long a node may take to answer on its discovery port.
const aliveTimeout = 2 * time.Second

// prober asks nodes of one cluster whether they are there.
type prober struct {
	label string
	tls   *tls.Config // nil: plain
}

func newProber(system string, config *tls.Config) prober {
	return prober{label: "prefix-" + strings.ToLower(system), tls: config}
}

// alive says whether a node of the cluster runs at a discovery address. A connection is not enough: the kernel accepts one for a
// process that hangs. So the label of the cluster is sent and nothing else, after which a node that lives closes the connection
// without a word. So does a node of another cluster, or one that wants TLS, which the join then notices.
func (p prober) alive(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, aliveTimeout)
	defer cancel()
	conn, err := p.open(ctx, addr)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }() // nothing is lost
	if half, ok := conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return false
	}
	said, err := io.Copy(io.Discard, conn)
	return said == 0 && (err == nil || !isTimeout(err)) // who says something, such as that this should be TLS, is no node of ours
}

// gossipStream marks a connection of the gossip over TLS as a stream.
const gossipStream = 2

// open makes a connection as the gossip of the cluster does, up to the label. It ends with ctx, which has a deadline.
func (p prober) open(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := p.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	err = conn.SetDeadline(deadline)
	if err == nil && p.tls != nil {
		// GoAkt's gossip over TLS says first what kind of connection it is.
		_, err = conn.Write([]byte{gossipStream})
	}
	if err == nil {
		err = memberlist.AddLabelHeaderToStream(conn, p.label)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (p prober) dial(ctx context.Context, addr string) (net.Conn, error) {
	if p.tls == nil {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	return (&tls.Dialer{Config: p.tls}).DialContext(ctx, "tcp", addr)
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
