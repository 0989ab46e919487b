package idle

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"sync"
	"time"
)

// crowdVariable tells this binary to be the clients: the URL they connect to.
const crowdVariable = "PARLEY_IDLE_CROWD"

// atOnce is how many connect at the same time.
const atOnce = 32

// crowdMain connects all clients, says so, answers pings, and ends when its input does. It fails when a connection ends.
func crowdMain() error {
	target, err := url.Parse(os.Getenv(crowdVariable))
	if err != nil {
		return fmt.Errorf("parse URL: %w", err)
	}
	turns := make(chan int)
	go func() {
		defer close(turns)
		for i := range *clients {
			turns <- i
		}
	}()
	ended := make(chan error, *clients+atOnce)
	var joining sync.WaitGroup
	for range atOnce {
		joining.Go(func() {
			for i := range turns {
				c, err := join(target, roomOf(i))
				if err != nil {
					ended <- fmt.Errorf("client %d: %w", i, err)
					return
				}
				go func() { ended <- fmt.Errorf("client %d: connection ended: %w", i, c.answerPings()) }()
			}
		})
	}
	joined, over := make(chan struct{}), make(chan struct{})
	go func() {
		joining.Wait()
		close(joined)
	}()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(over)
	}()
	for {
		select {
		case err := <-ended:
			return err
		case <-joined:
			fmt.Println("joined")
			joined = nil
		case <-over:
			return nil
		}
	}
}

// roomOf is the room of a client: its own, or the one of all.
func roomOf(i int) string {
	if *oneRoom {
		return "all"
	}
	return fmt.Sprintf("room-%d", i)
}

// client is a WebSocket that costs this process little: there are thousands.
type client struct {
	conn net.Conn
	in   *bufio.Reader
}

// patienceToJoin is for one client, the waits that the gateway tells it to make included.
const patienceToJoin = 2 * time.Minute

func join(target *url.URL, room string) (*client, error) {
	for deadline := time.Now().Add(patienceToJoin); ; {
		c, err := dial(target)
		if err == nil {
			err = c.join(room)
		}
		if err == nil || time.Now().After(deadline) {
			return c, err
		}
		<-time.After(time.Second) // the gateway lets them in at its own pace
	}
}

func dial(target *url.URL) (*client, error) {
	conn, err := net.DialTimeout("tcp", target.Host, patienceToJoin)
	if err != nil {
		return nil, err
	}
	if target.Scheme == "wss" {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	c := &client{conn, bufio.NewReaderSize(conn, 512)}
	_ = conn.SetDeadline(time.Now().Add(patienceToJoin))
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", target.Path, target.Host)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	for first := true; ; first = false {
		line, err := c.in.ReadString('\n')
		if err != nil || first && !bytes.Contains([]byte(line), []byte(" 101 ")) {
			return nil, errors.Join(fmt.Errorf("handshake answered with %q", line), err, conn.Close())
		}
		if line == "\r\n" {
			return c, nil
		}
	}
}

func (c *client) join(room string) error {
	if err := c.send(0x81, []byte(`{"join_room":{"room_id":"`+room+`"}}`)); err != nil {
		return err
	}
	for {
		op, payload, err := c.read()
		switch {
		case err != nil:
			return errors.Join(err, c.conn.Close())
		case op == 8 || bytes.Contains(payload, []byte(`"error"`)):
			return errors.Join(fmt.Errorf("join answered with %q", payload), c.conn.Close())
		case bytes.Contains(payload, []byte(`"room_joined"`)):
			return c.conn.SetDeadline(time.Time{})
		}
	}
}

// answerPings reads until the connection ends.
func (c *client) answerPings() error {
	for {
		op, payload, err := c.read()
		if err != nil {
			return err
		}
		switch op {
		case 8:
			return fmt.Errorf("closed with %q", payload)
		case 9:
			if err := c.send(0x8a, payload); err != nil {
				return err
			}
		}
	}
}

func (c *client) read() (op byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return 0, nil, err
	}
	n := int(head[1])
	if n == 126 {
		var long [2]byte
		if _, err := io.ReadFull(c.in, long[:]); err != nil {
			return 0, nil, err
		}
		n = int(binary.BigEndian.Uint16(long[:]))
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(c.in, payload)
	return head[0] & 0xf, payload, err
}

// send sends a frame of less than 126 bytes.
func (c *client) send(first byte, payload []byte) error {
	frame := append(make([]byte, 0, 6+len(payload)), first, 0x80|byte(len(payload)), 0, 0, 0, 0)
	_, _ = rand.Read(frame[2:6])
	for i, b := range payload {
		frame = append(frame, b^frame[2+i%4])
	}
	_, err := c.conn.Write(frame)
	return err
}
