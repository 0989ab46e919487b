package ws

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOrigins(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		allowed []string
		origins []string
		ok      bool
	}{
		"none sent, none listed":            {nil, nil, true},
		"none sent, some listed":            {[]string{"https://a.test"}, nil, true},
		"same":                              {nil, []string{"http://chat.test"}, true},
		"same behind TLS":                   {nil, []string{"https://chat.test"}, true},
		"same in another case":              {nil, []string{"http://CHAT.test"}, true},
		"other port":                        {nil, []string{"http://chat.test:81"}, false},
		"other host":                        {nil, []string{"http://evil.test"}, false},
		"host as prefix":                    {nil, []string{"http://chat.test.evil.test"}, false},
		"host as suffix":                    {nil, []string{"http://evil-chat.test"}, false},
		"null":                              {nil, []string{"null"}, false},
		"empty":                             {nil, []string{""}, false},
		"with a path":                       {nil, []string{"http://chat.test/x"}, false},
		"with a user":                       {nil, []string{"http://chat.test@evil.test"}, false},
		"two of them":                       {nil, []string{"http://chat.test", "http://evil.test"}, false},
		"no scheme":                         {nil, []string{"chat.test"}, false},
		"listed":                            {[]string{"https://a.test", "https://b.test:8443"}, []string{"https://b.test:8443"}, true},
		"listed with another scheme":        {[]string{"https://a.test"}, []string{"http://a.test"}, false},
		"listed, subdomain sent":            {[]string{"https://a.test"}, []string{"https://x.a.test"}, false},
		"same as the gateway's, not listed": {[]string{"https://a.test"}, []string{"http://chat.test"}, false},
		"all":                               {[]string{"*"}, []string{"https://anything.test"}, true},
		"all, null sent":                    {[]string{"*"}, []string{"null"}, true},
	} {
		r := &http.Request{Host: "chat.test", Header: http.Header{}}
		for _, o := range tc.origins {
			r.Header.Add("Origin", o)
		}
		require.Equal(t, tc.ok, originAllowed(tc.allowed, r), name)
	}
}

// A name that somebody has lead to 127.0.0.1 is not one of this machine.
func TestPagesUnderNamesOfOthers(t *testing.T) {
	t.Parallel()
	here := start(t, func(cfg *Config, _ *echo) { cfg.OnlyHere = true })
	named := start(t, func(cfg *Config, _ *echo) {
		cfg.OnlyHere, cfg.AllowedOrigins = true, []string{"http://evil.test", "http://chat.test"}
	})
	anywhere := start(t)
	for host, certain := range map[string]bool{
		"localhost": true, "LocalHost:8080": true, "localhost.:8080": true, "chat.localhost:8080": true,
		"127.0.0.1": true, "127.0.0.1:8080": true, "[::1]:8080": true, "[::1]": true, "192.0.2.7:80": true,
		"chat.test": false, "evil.test:8080": false, "localhost.evil.test:8080": false, "evillocalhost": false, "127.0.0.1.evil.test": false,
	} {
		handshake := strings.Replace(goodHandshake, "Host: chat.test", "Host: "+host, 1)
		answer := func(s *server, more string) *http.Response {
			c := s.dial()
			c.write([]byte(handshake + more + "\r\n"))
			res, err := http.ReadResponse(c.r, nil)
			require.NoError(t, err)
			return res
		}
		res := answer(here, "Origin: http://"+host+"\r\n")
		if certain {
			require.Equal(t, http.StatusSwitchingProtocols, res.StatusCode, host)
		} else {
			require.Equal(t, http.StatusForbidden, res.StatusCode, host)
			text, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			require.Contains(t, string(text), "PARLEY_ALLOWED_ORIGINS")
		}
		require.Equal(t, http.StatusForbidden, answer(here, "Origin: http://other.test\r\n").StatusCode, host)
		require.Equal(t, http.StatusSwitchingProtocols, answer(here, "").StatusCode, "no page")
		require.Equal(t, http.StatusSwitchingProtocols, answer(anywhere, "Origin: http://"+host+"\r\n").StatusCode, host)
		require.Equal(t, http.StatusSwitchingProtocols, answer(named, "Origin: http://chat.test\r\n").StatusCode, host)
	}
}

func TestRefusedUpgrades(t *testing.T) {
	t.Parallel()
	s := start(t)
	for name, tc := range map[string]struct {
		change func(string) string
		status int
	}{
		"not a GET":            {func(h string) string { return strings.Replace(h, "GET", "POST", 1) }, 405},
		"no upgrade":           {func(h string) string { return strings.Replace(h, "Upgrade: websocket\r\n", "", 1) }, 426},
		"other upgrade":        {func(h string) string { return strings.Replace(h, "websocket", "h2c", 1) }, 426},
		"no connection header": {func(h string) string { return strings.Replace(h, "Connection: Upgrade\r\n", "", 1) }, 400},
		"no key": {func(h string) string {
			return strings.Replace(h, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 1)
		}, 400},
		"old version":            {func(h string) string { return strings.Replace(h, "Version: 13", "Version: 8", 1) }, 426},
		"no version":             {func(h string) string { return strings.Replace(h, "Sec-WebSocket-Version: 13\r\n", "", 1) }, 400},
		"only unknown protocols": {func(h string) string { return h + "Sec-WebSocket-Protocol: graphql-ws, soap\r\n" }, 400},
		"page of another site":   {func(h string) string { return h + "Origin: https://evil.test\r\n" }, 403},
	} {
		c := s.dial()
		c.write([]byte(tc.change(goodHandshake) + "\r\n"))
		require.Equal(t, tc.status, c.response().StatusCode, name)
	}
	s.connect().echoes("all well")
}

func TestSubprotocols(t *testing.T) {
	t.Parallel()
	s := start(t)
	for offered, want := range map[string]string{
		"":                                "",
		"parley.v1.json":                  "parley.v1.json",
		"parley.v1.proto":                 "parley.v1.proto",
		"soap, parley.v1.json":            "parley.v1.json",
		"parley.v1.proto, parley.v1.json": "parley.v1.proto",
	} {
		var headers []string
		if offered != "" {
			headers = append(headers, "Sec-WebSocket-Protocol: "+offered)
		}
		res := s.dial().handshake(headers...)
		require.Equal(t, 101, res.StatusCode, offered)
		require.Equal(t, want, res.Header.Get("Sec-WebSocket-Protocol"), offered)
	}
}

func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	s := start(t, func(cfg *Config, _ *echo) { cfg.MaxConnections = 2 })
	a, b := s.connect(), s.connect()
	first := s.echo()
	if first.c.RemoteAddr().String() != a.nc.LocalAddr().String() { // handlers are opened in goroutines of their own
		first = s.echo()
	}
	res := s.dial().handshake()
	require.Equal(t, http.StatusTooManyRequests, res.StatusCode)
	require.Regexp(t, "^[123]$", res.Header.Get("Retry-After"))
	a.echoes("unharmed")
	b.echoes("unharmed")
	require.NoError(t, a.nc.Close())
	first.expect(t, "message unharmed")
	first.expect(t, "closed 0")
	require.Eventually(t, func() bool { return s.acceptor.Active() == 1 }, patience, 1e6)
	s.connect().echoes("a place was free")
}

func TestBusyRefusesUpgrades(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.connect()
	for after, want := range map[time.Duration]string{time.Millisecond: "1", 2 * time.Second: "2", 2100 * time.Millisecond: "3"} {
		s.busy.Store(int64(after))
		res := s.dial().handshake()
		require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
		require.Equal(t, want, res.Header.Get("Retry-After"))
	}
	c.echoes("old connections work on")
	s.busy.Store(0)
	s.connect().echoes("and new ones again")
}

func TestDrainingRefusesUpgrades(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.connect()
	s.acceptor.SetDraining(true)
	res := s.dial().handshake()
	require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	require.NotEmpty(t, res.Header.Get("Retry-After"))
	c.echoes("old connections work on")
}

// S9: half a handshake holds a socket for a moment and nothing else.
func TestSlowloris(t *testing.T) {
	t.Parallel()
	s := start(t)
	canary := s.connect()
	var slow []*raw
	for range 50 {
		c := s.dial()
		c.write([]byte(goodHandshake[:40]))
		slow = append(slow, c)
	}
	canary.echoes("unharmed")
	for _, c := range slow {
		c.expectCut()
	}
	s.connect().echoes("still accepting")
}
