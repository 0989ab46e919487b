package ws

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/opskit/certs/certstest"
)

func record(typ byte, payload []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{typ, 3, 1}, uint16(len(payload))), payload...)
}

// What comes out is the same bytes in whole records, each of which fits what crypto/tls has free; and what follows is not touched.
func TestHelloInPieces(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 4, helloPiece, helloPiece + 1, 1014, 1015, 1521, 1800, 4000, helloMost} {
		message := bytes.Repeat([]byte("0123456789a"), size/11+1)[:size]
		r := iotest.HalfReader(bytes.NewReader(append(record(handshakeTyp, message), "rest"...)))
		h, buf := &hello{}, make([]byte, 517)
		var got []byte
		for done := false; !done; {
			var n int
			var err error
			n, done, err = h.read(r, buf)
			require.NoError(t, err, size)
			if size <= helloPiece {
				require.Equal(t, record(handshakeTyp, message)[:recordHeader], buf[:n])
				require.True(t, done)
				continue
			}
			require.LessOrEqual(t, n, 512)
			require.Equal(t, record(handshakeTyp, buf[recordHeader:n]), buf[:n], "a record")
			got = append(got, buf[recordHeader:n]...)
		}
		rest, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, string(message)+"rest", string(got)+string(rest))
	}
}

// What is none is for crypto/tls to judge.
func TestNoHello(t *testing.T) {
	t.Parallel()
	for name, text := range map[string][]byte{
		"another protocol": []byte("GET / HTTP/1.1\r\n"), "encrypted": record(23, make([]byte, 1500)), "longer than allowed": record(handshakeTyp, make([]byte, helloMost+1)),
		"nothing in it": record(handshakeTyp, nil),
	} {
		h, buf, r := &hello{}, make([]byte, 517), bytes.NewReader(text)
		n, done, err := h.read(r, buf)
		require.NoError(t, err, name)
		require.True(t, done, name)
		require.Equal(t, text[:recordHeader], buf[:n], name)
		require.Equal(t, len(text)-recordHeader, r.Len(), name)
	}
	for _, text := range []string{"", "\x16\x03", "\x16\x03\x01\x05\xdcshort"} {
		h, buf := &hello{}, make([]byte, 517)
		_, done, err := h.read(bytes.NewReader([]byte(text)), buf)
		require.Error(t, err)
		require.True(t, done)
	}
}

func FuzzHello(f *testing.F) {
	f.Add(record(handshakeTyp, make([]byte, 1521)), 517)
	f.Add([]byte("GET / HTTP/1.1\r\n"), 6)
	f.Add(record(handshakeTyp, make([]byte, 600)), 3)
	f.Fuzz(func(t *testing.T, text []byte, room int) {
		h, buf, r := &hello{}, make([]byte, max(1, min(room, 2048))), bytes.NewReader(text)
		for range len(text) + 1 {
			n, done, err := h.read(r, buf)
			require.LessOrEqual(t, n, len(buf))
			if done || err != nil {
				return
			}
			require.Greater(t, n, recordHeader)
		}
		t.Fatal("it does not end")
	})
}

// shake makes a connection over a listener that Listen wraps, or over one that it does not.
func shake(t *testing.T, wrap bool, server, client *tls.Config) (theirs, ours *tls.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	if wrap {
		l = Listen(l)
	}
	type result struct {
		conn *tls.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			done <- result{err: err}
			return
		}
		conn := tls.Server(c, server)
		done <- result{conn, conn.HandshakeContext(context.WithoutCancel(t.Context()))}
	}()
	nc, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	require.NoError(t, nc.SetDeadline(time.Now().Add(time.Minute)))
	ours = tls.Client(nc, client)
	require.NoError(t, ours.HandshakeContext(t.Context()))
	accepted := <-done
	require.NoError(t, accepted.err)
	t.Cleanup(func() { _, _ = nc.Close(), accepted.conn.NetConn().Close() })
	return accepted.conn, ours
}

func tlsConfigs(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	ca := certstest.NewCA(t)
	cert, err := tls.X509KeyPair(ca.Issue(2))
	require.NoError(t, err)
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", MinVersion: tls.VersionTLS12}
}

// Handshakes of all kinds succeed, and the hello was divided where it is long.
func TestHandshakesInPieces(t *testing.T) {
	t.Parallel()
	names := make([]string, 400)
	for i := range names {
		names[i] = "a-protocol-nobody-has-heard-of"
	}
	for name, edit := range map[string]func(c *tls.Config){
		"post-quantum": func(*tls.Config) {},
		"TLS 1.2":      func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
		"short":        func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} },
		"retried":      func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP521} },
		"huge":         func(c *tls.Config) { c.NextProtos = names },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, client := tlsConfigs(t)
			edit(client)
			if name == "retried" {
				server.CurvePreferences = []tls.CurveID{tls.CurveP521}
			}
			theirs, ours := shake(t, true, server, client)
			for range 2 {
				_, err := ours.Write(bytes.Repeat([]byte("x"), 9000))
				require.NoError(t, err)
				got, err := io.ReadFull(theirs, make([]byte, 9000))
				require.NoError(t, err)
				require.Equal(t, 9000, got)
			}
		})
	}
}

// Resumption survives the division, which changes neither what is signed nor what binders cover.
func TestResumptionInPieces(t *testing.T) {
	t.Parallel()
	server, client := tlsConfigs(t)
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for i := range 2 {
		theirs, ours := shake(t, true, server, client)
		_, err := theirs.Write([]byte("ticket before this"))
		require.NoError(t, err)
		_, err = io.ReadFull(ours, make([]byte, 18))
		require.NoError(t, err)
		require.Equal(t, i == 1, ours.ConnectionState().DidResume)
	}
}

// A connection keeps a KiB less than one whose hello was read at once. Not parallel: it weighs the heap.
func TestHelloKeepsLess(t *testing.T) {
	server, client := tlsConfigs(t)
	weigh := func(wrap bool) int {
		const n = 200
		conns := make([]*tls.Conn, 0, 2*n)
		heap := func() int {
			var m runtime.MemStats
			runtime.GC()
			runtime.GC() // what pools held
			runtime.ReadMemStats(&m)
			return int(m.HeapAlloc)
		}
		before := heap()
		for range n {
			theirs, ours := shake(t, wrap, server, client)
			conns = append(conns, theirs, ours)
		}
		after := heap()
		for _, c := range conns {
			_ = c.NetConn().Close()
		}
		runtime.KeepAlive(conns)
		return (after - before) / n
	}
	whole, pieces := weigh(false), weigh(true)
	t.Logf("bytes per connection, both ends: %d, in pieces %d", whole, pieces)
	require.Less(t, pieces, whole-900)
}
