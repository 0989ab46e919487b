package hostile

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// without takes a header out of the good handshake, or puts others in its place.
func without(name, instead string) string {
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSuffix(goodHandshake, "\r\n"), "\r\n") {
		if strings.HasPrefix(line, name) {
			line = instead
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\r\n") + "\r\n"
}

// A handshake that is not one is refused with the status that says why, and the socket ends: what comes behind a refused upgrade
// must never be taken for another request, because a proxy may take it for frames.
func TestHandshakes(t *testing.T) {
	addr := victim(t)
	canary := release(t, addr)
	const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
	for _, test := range []struct {
		name, request string
		status        int
	}{
		{"POST", strings.Replace(goodHandshake, "GET", "POST", 1), 405},
		{"HEAD", strings.Replace(goodHandshake, "GET", "HEAD", 1), 405},
		{"made-up method", strings.Replace(goodHandshake, "GET", "FROB", 1), 405},
		{"HTTP/1.0", strings.Replace(goodHandshake, "HTTP/1.1", "HTTP/1.0", 1), 505},
		{"HTTP/2.0 in words", strings.Replace(goodHandshake, "HTTP/1.1", "HTTP/2.0", 1), 505},
		{"no HTTP", strings.Replace(goodHandshake, "HTTP/1.1", "FTP/1.1", 1), 400},
		{"no Host", without("Host", ""), 400},
		{"two Hosts", goodHandshake + "Host: evil.test\r\n", 400},
		{"Host of nonsense", without("Host", "Host: a b"), 400},
		{"no Upgrade", without("Upgrade", ""), 426},
		{"other Upgrade", without("Upgrade", "Upgrade: h2c"), 426},
		{"no Connection", without("Connection", ""), 400},
		{"other Connection", without("Connection", "Connection: keep-alive"), 400},
		{"no key", without("Sec-WebSocket-Key", ""), 400},
		{"empty key", without("Sec-WebSocket-Key", "Sec-WebSocket-Key:"), 400},
		{"short key", without("Sec-WebSocket-Key", "Sec-WebSocket-Key: c2hvcnQ="), 400},
		{"key of another alphabet", without("Sec-WebSocket-Key", "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!=="), 400},
		{"two keys", goodHandshake + key + "\r\n", 400},
		{"no version", without("Sec-WebSocket-Version", ""), 400},
		{"version 0", without("Sec-WebSocket-Version", "Sec-WebSocket-Version: 0"), 426},
		{"version 8", without("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"), 426},
		{"version of nonsense", without("Sec-WebSocket-Version", "Sec-WebSocket-Version: 13, 8"), 426},
		{"unknown subprotocol", goodHandshake + "Sec-WebSocket-Protocol: graphql-ws, soap\r\n", 400},
		{"page of another site", goodHandshake + "Origin: https://evil.test\r\n", 403},
		{"page whose name leads here", goodHandshake + "Origin: http://chat.test\r\n", 403},
		{"page of nowhere", goodHandshake + "Origin: null\r\n", 403},
		{"two origins", goodHandshake + "Origin: http://chat.test\r\nOrigin: https://evil.test\r\n", 403},
		{"origin with the host as user", goodHandshake + "Origin: http://chat.test@evil.test\r\n", 403},
		{"header of 64 KiB", goodHandshake + "X-Long: " + strings.Repeat("x", 64<<10) + "\r\n", 431},
		{"20,000 headers", goodHandshake + strings.Repeat("X: y\r\n", 20000), 431},
		{"path of 64 KiB", strings.Replace(goodHandshake, "/ws", "/ws?"+strings.Repeat("x", 64<<10), 1), 431},
		{"header with a space before its colon", goodHandshake + "X-A : b\r\n", 400},
		{"header with a NUL", goodHandshake + "X-A: a\x00b\r\n", 400},
		{"header without a name", goodHandshake + ": b\r\n", 400},
		{"header without a colon", goodHandshake + "X-A\r\n", 400},
		{"header that is folded", goodHandshake + "X-A: b\r\n\tc\r\nX-B : d\r\n", 400},
		{"body by length", goodHandshake + "Content-Length: 33\r\n", 400},
		{"body in chunks", goodHandshake + "Transfer-Encoding: chunked\r\n", 400},
		{"body both ways", goodHandshake + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", 400},
		{"two lengths", goodHandshake + "Content-Length: 6\r\nContent-Length: 7\r\n", 400},
		{"unknown transfer encoding", goodHandshake + "Transfer-Encoding: cow\r\n", 501},
		{"length that is none", goodHandshake + "Content-Length: -1\r\n", 400},
		{"expectation", goodHandshake + "Content-Length: 5\r\nExpect: 100-continue\r\n", 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := dial(t, addr)
			// What a proxy that believes in the upgrade lets pass unseen.
			c.write([]byte(test.request + "\r\nGET /healthz HTTP/1.1\r\nHost: smuggled.test\r\n\r\n"))
			res, err := http.ReadResponse(c.r, &http.Request{Method: strings.Fields(test.request)[0]})
			require.NoError(t, err)
			require.Equal(t, test.status, res.StatusCode)
			if test.status == 426 && strings.Contains(test.name, "version") {
				require.Equal(t, "13", res.Header.Get("Sec-WebSocket-Version"))
			}
			body, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			require.NotContains(t, string(body), "smuggled")
			require.NotContains(t, string(c.expectCut()), "HTTP/1.1", "one answer, and the end")
		})
	}
	connect(t, addr).works()
	canary.unharmed()
}

// Headers that other clients and proxies send are no reason to refuse.
func TestGoodHandshakes(t *testing.T) {
	addr := victim(t)
	for name, request := range map[string]string{
		"as browsers do": strings.Replace(goodHandshake, "chat.test", "localhost", 1) + "Origin: http://localhost\r\nPragma: no-cache\r\nCache-Control: no-cache\r\nAccept-Encoding: gzip, deflate\r\n",
		"names in other cases": "GET /ws HTTP/1.1\r\nHOST: chat.test\r\nuPgRaDe: WebSocket\r\nconnection: keep-alive, UPGRADE\r\n" +
			"sec-websocket-version: 13\r\nSEC-WEBSOCKET-KEY: dGhlIHNhbXBsZSBub25jZQ==\r\n",
		"a length of nothing": goodHandshake + "Content-Length: 0\r\n",
		"cookies of 8 KiB":    goodHandshake + "Cookie: " + strings.Repeat("c", 8<<10) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, addr)
			c.write([]byte(request + "\r\n"))
			require.Equal(t, http.StatusSwitchingProtocols, c.response().StatusCode)
			c.works()
		})
	}
}

// Compression is not offered: an offer is declined, so that there is nothing that could burst, and compressed frames are an error.
func TestCompressionIsDeclined(t *testing.T) {
	addr := victim(t)
	for _, offer := range []string{
		"permessage-deflate", "permessage-deflate; client_max_window_bits", "permessage-deflate; server_no_context_takeover; client_no_context_takeover, x-webkit-deflate-frame",
		"permessage-bzip2", `nonsense; a="b`,
	} {
		t.Run(offer, func(t *testing.T) {
			c := dial(t, addr)
			c.write([]byte(goodHandshake + "Sec-WebSocket-Extensions: " + offer + "\r\n\r\n"))
			res := c.response()
			require.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
			require.Empty(t, res.Header.Values("Sec-WebSocket-Extensions"))
			c.works()
			c.write(frame(finText|0x40, "\xaa\x56\x2a\xc8\xcc\x4b\x57\xb2\xaa\xae\xad\x05\x00")) // a deflated message
			c.expectClose(1002)
		})
	}
}

// Other paths of the port answer like any web server, one request after the other.
func TestPipelinedRequests(t *testing.T) {
	addr := victim(t)
	c := dial(t, addr)
	c.write([]byte("GET /nothing-here HTTP/1.1\r\nHost: chat.test\r\n\r\n" + goodHandshake + "\r\n"))
	require.Equal(t, http.StatusNotFound, c.response().StatusCode)
	require.Equal(t, http.StatusSwitchingProtocols, c.response().StatusCode)
	c.works()
	for _, path := range []string{"/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//ws", "/ws/", "/ws%00", "/metrics", "/debug/pprof/", "/readyz"} {
		c := dial(t, addr)
		_, err := fmt.Fprintf(c.nc, "GET %s HTTP/1.1\r\nHost: chat.test\r\nConnection: close\r\n\r\n", path)
		require.NoError(t, err)
		res, err := http.ReadResponse(c.r, nil)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Contains(t, []int{301, 307, 400, 404}, res.StatusCode, path)
	}
}
