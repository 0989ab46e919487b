//go:build linux

package bench

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parley-rt/parley/cmd/parley/internal/epoll"
)

// stage is how far a connection has come.
type stage int

const (
	closed stage = iota
	connecting
	upgrading
	joining
	open
)

// conn is one connection of the load, of the generator's thread alone.
type conn struct {
	fd    int
	room  string
	after string // after_seq of the join; empty: from the head
	stage stage
	// rest is the beginning of a frame, or of the answer to the handshake, whose end has not come.
	rest []byte
	// out is what is to be sent; queued: it leaves at the end of the turn.
	out    []byte
	queued bool

	began time.Time // of the first attempt to connect
	tell  time.Duration

	// Publishing: the number of the last publish, how many are unacknowledged, and when each was due, at number % len(due).
	number      uint64
	outstanding int
	due         []int64

	// Receiving: the number of the last message, and whether there was one.
	cursor   uint64
	chained  bool
	received int
	probe    bool
}

// connect begins an attempt.
func (g *generator) connect(c *conn) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err := unix.Connect(fd, g.address); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		_ = unix.Close(fd)
		return fmt.Errorf("connect: %w", err)
	}
	if err := g.poll.Add(fd, epoll.Read|epoll.Write); err != nil {
		_ = unix.Close(fd)
		return err
	}
	for len(g.byFD) <= fd {
		g.byFD = append(g.byFD, nil)
	}
	g.byFD[fd] = c
	c.fd, c.stage, c.rest, c.out, c.tell = fd, connecting, nil, nil, 0
	if c.began.IsZero() {
		c.began = time.Now()
	}
	return nil
}

func (g *generator) drop(c *conn) {
	if c.stage != closed {
		g.byFD[c.fd] = nil
		_ = unix.Close(c.fd)
		c.stage = closed
	}
}

// connected sends the handshake of a connection whose socket is up.
func (g *generator) connected(c *conn) error {
	failed, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && failed != 0 {
		err = unix.Errno(failed)
	}
	if err == nil {
		err = g.poll.Change(c.fd, epoll.Read)
	}
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	c.stage = upgrading
	c.out = append(c.out, g.handshake...)
	g.queue(c)
	return nil
}

// refusedError says that a server has no time for a newcomer now.
type refusedError struct{ after time.Duration }

func (e *refusedError) Error() string { return fmt.Sprintf("refused for %s", e.after) }

// upgraded reads the answer to the handshake and sends the join; what comes behind the answer is returned. nil: it is not whole.
func (g *generator) upgraded(c *conn, in []byte) ([]byte, error) {
	head, rest, whole := bytes.Cut(in, []byte("\r\n\r\n"))
	if !whole {
		return nil, nil
	}
	status, fields, _ := bytes.Cut(head, []byte("\r\n"))
	code, err := strconv.Atoi(string(bytes.TrimSpace(status[min(len(status), 9):min(len(status), 12)])))
	switch {
	case err != nil:
		return nil, fmt.Errorf("handshake answered %.100q", status)
	case code == http.StatusServiceUnavailable || code == http.StatusTooManyRequests:
		after := time.Second
		for line := range bytes.SplitSeq(fields, []byte("\r\n")) {
			name, value, _ := bytes.Cut(line, []byte(": "))
			if seconds, err := strconv.Atoi(string(value)); err == nil && bytes.EqualFold(name, []byte("Retry-After")) {
				after = time.Duration(seconds) * time.Second
			}
		}
		return nil, &refusedError{after}
	case code != http.StatusSwitchingProtocols:
		return nil, fmt.Errorf("handshake answered %.100q", status)
	}
	c.stage = joining
	join := `{"join_room":{"room_id":"` + c.room + `"`
	if c.after != "" {
		join += `,"after_seq":"` + c.after + `"`
	}
	c.out = appendFrame(c.out, opText, []byte(join+`}}`))
	g.queue(c)
	return rest, nil
}

// queue marks a connection that has something to send.
func (g *generator) queue(c *conn) {
	if !c.queued {
		c.queued = true
		g.dirty = append(g.dirty, c)
	}
}

// flush sends what the turn has made. What a socket does not take waits until it is writable.
func (g *generator) flush() error {
	for _, c := range g.dirty {
		c.queued = false
		if c.stage == closed || len(c.out) == 0 {
			continue
		}
		n, err := unix.Write(c.fd, c.out)
		if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			if err := g.fail(c, fmt.Errorf("send: %w", err)); err != nil {
				return err
			}
			continue
		}
		if n = max(n, 0); n < len(c.out) {
			c.out = append(c.out[:0], c.out[n:]...)
			if err := g.poll.Change(c.fd, epoll.Read|epoll.Write); err != nil {
				return err
			}
			continue
		}
		c.out = c.out[:0]
		if g.shrink {
			c.out = nil
		}
	}
	g.dirty = g.dirty[:0]
	return nil
}
