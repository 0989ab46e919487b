//go:build linux

package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// idleTLS is idle over encrypted connections, which have a goroutine each here: the client's memory is not what is weighed.
func idleTLS(g *generator, srv *server, s Scenario) (Result, error) {
	u, err := url.Parse(srv.url)
	if err != nil {
		return Result{}, fmt.Errorf("server's address: %w", err)
	}
	var mu sync.Mutex // conns, and opens of g
	var conns []net.Conn
	var readers sync.WaitGroup
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
		readers.Wait()
	}()
	return weigh(g, srv, s, func() error {
		left := make(chan *conn, s.Connections)
		for _, c := range newConns(s) {
			left <- c
		}
		close(left)
		dialing, ctx := errgroup.WithContext(g.ctx)
		for range openAtOnce {
			dialing.Go(func() error {
				for c := range left {
					began := time.Now()
					nc, r, err := dialTLS(ctx, u, g.handshake, c.room)
					if err != nil {
						return err
					}
					mu.Lock()
					record(g.opens, time.Since(began).Nanoseconds())
					conns = append(conns, nc)
					mu.Unlock()
					readers.Go(func() { answerPings(nc, r) })
				}
				return nil
			})
		}
		return dialing.Wait()
	})
}

// dialTLS opens and joins, waiting when it is sent away.
func dialTLS(ctx context.Context, u *url.URL, handshake, room string) (net.Conn, *bufio.Reader, error) {
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}} //nolint:gosec // our own server of this run
	for {
		nc, err := dialer.DialContext(ctx, "tcp", u.Host)
		if err != nil {
			return nil, nil, fmt.Errorf("connect: %w", err)
		}
		join := appendFrame(nil, opText, []byte(`{"join_room":{"room_id":"`+room+`"}}`))
		_, err = io.WriteString(nc, handshake)
		r := bufio.NewReaderSize(nc, 4<<10)
		var answer *http.Response
		if err == nil {
			answer, err = http.ReadResponse(r, nil) //nolint:bodyclose // it has none, or the connection is closed
		}
		switch {
		case err == nil && answer.StatusCode == http.StatusServiceUnavailable:
			_ = nc.Close()
			time.Sleep(time.Second)
			continue
		case err == nil && answer.StatusCode != http.StatusSwitchingProtocols:
			err = errors.New(answer.Status)
		}
		if err == nil {
			_, err = nc.Write(join)
		}
		for err == nil {
			var payload []byte
			if _, payload, err = readFrame(r); err == nil && strings.HasPrefix(string(payload), `{"room_joined"`) {
				return nc, r, nil
			}
		}
		_ = nc.Close()
		return nil, nil, fmt.Errorf("handshake: %w", err)
	}
}

func readFrame(r *bufio.Reader) (opcode byte, payload []byte, err error) {
	head, err := r.Peek(2)
	if err != nil {
		return 0, nil, err
	}
	opcode = head[0] & 0x0f
	size := 2
	if head[1]&0x7f == 126 {
		size = 4
	}
	if head, err = r.Peek(size); err != nil {
		return 0, nil, err
	}
	h, n, _ := frameAt(append([]byte(nil), head...))
	payload = make([]byte, n)
	if _, err = r.Discard(h); err == nil {
		_, err = io.ReadFull(r, payload)
	}
	return opcode, payload, err
}

func answerPings(nc net.Conn, r *bufio.Reader) {
	for {
		opcode, payload, err := readFrame(r)
		if err != nil {
			return
		}
		if opcode == opPing {
			if _, err := nc.Write(appendFrame(nil, opPong, payload)); err != nil {
				return
			}
		}
	}
}
