package gateway

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/stretchr/testify/require"
)

// slowClient joins a room and then does not read.
type slowClient struct {
	g  *bundle
	nc net.Conn
	r  *bufio.Reader
}

func (g *bundle) dialSlow(room string) *slowClient {
	g.t.Helper()
	nc, err := net.Dial("tcp", g.service.Addr())
	require.NoError(g.t, err)
	g.t.Cleanup(func() { _ = nc.Close() })
	require.NoError(g.t, nc.(*net.TCPConn).SetReadBuffer(16<<10))
	return g.slow(nc, room)
}

// slow joins over an open socket.
func (g *bundle) slow(nc net.Conn, room string) *slowClient {
	g.t.Helper()
	require.NoError(g.t, nc.SetDeadline(time.Now().Add(2*patience)))
	s := &slowClient{g: g, nc: nc, r: bufio.NewReader(nc)}
	_, err := fmt.Fprintf(nc, "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	require.NoError(g.t, err)
	res, err := http.ReadResponse(s.r, nil)
	require.NoError(g.t, err)
	require.Equal(g.t, http.StatusSwitchingProtocols, res.StatusCode)
	join := fmt.Sprintf(`{"join_room":{"room_id":%q}}`, room)
	_, err = nc.Write(append([]byte{0x81, 0x80 | byte(len(join)), 0, 0, 0, 0}, join...))
	require.NoError(g.t, err)
	for range 2 { // session, room_joined
		_, _, err := s.frame()
		require.NoError(g.t, err)
	}
	return s
}

func (s *slowClient) frame() (opcode byte, payload []byte, err error) {
	var h [2]byte
	if _, err := io.ReadFull(s.r, h[:]); err != nil {
		return 0, nil, err
	}
	n := int(h[1])
	if n == 126 {
		var b [2]byte
		if _, err := io.ReadFull(s.r, b[:]); err != nil {
			return 0, nil, err
		}
		n = int(binary.BigEndian.Uint16(b[:]))
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(s.r, payload)
	return h[0] & 0x0f, payload, err
}

// connected says whether the gateway still has the connection.
func (s *slowClient) connected() bool {
	for _, c := range s.g.service.wheel.All() {
		if c.RemoteAddr().String() == s.nc.LocalAddr().String() {
			return !c.Closing()
		}
	}
	return false
}

// finish reads on, and fast, and returns the close code, 0 when there is none.
func (s *slowClient) finish() int {
	require.NoError(s.g.t, s.nc.(*net.TCPConn).SetReadBuffer(4<<20))
	for {
		opcode, payload, err := s.frame()
		if err != nil {
			return 0
		}
		if opcode == 8 {
			return int(binary.BigEndian.Uint16(payload))
		}
	}
}
