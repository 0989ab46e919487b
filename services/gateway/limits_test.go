package gateway

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/ratelimit"
)

func TestWhoIsBehindAProxy(t *testing.T) {
	t.Parallel()
	trusted, err := parseProxies([]string{"10.0.0.0/8", "127.0.0.1", "2001:db8::/32"})
	require.NoError(t, err)
	l := &limits{trusted: trusted}
	for _, c := range []struct {
		socket    string
		forwarded []string
		want      string
	}{
		{"198.51.100.7:1000", nil, "198.51.100.7"},
		{"198.51.100.7:1000", []string{"203.0.113.9"}, "198.51.100.7"}, // anybody can say so
		{"10.1.2.3:1000", []string{"203.0.113.9"}, "203.0.113.9"},
		{"10.1.2.3:1000", []string{"6.6.6.6, 203.0.113.9"}, "203.0.113.9"}, // what is before may be invented
		{"10.1.2.3:1000", []string{"203.0.113.9, 10.9.9.9"}, "203.0.113.9"},
		{"10.1.2.3:1000", []string{"203.0.113.9", "10.9.9.9"}, "203.0.113.9"}, // two headers are one list
		{"10.1.2.3:1000", []string{"10.9.9.9"}, "10.9.9.9"},
		{"10.1.2.3:1000", nil, "10.1.2.3"},
		{"10.1.2.3:1000", []string{"unknown"}, "10.1.2.3"},
		{"10.1.2.3:1000", []string{"203.0.113.9, garbage, 10.9.9.9"}, "10.9.9.9"},
		{"10.1.2.3:1000", []string{"203.0.113.9:4711"}, "203.0.113.9"},
		{"127.0.0.1:1000", []string{"2001:db9::1"}, "2001:db9::1"},
		{"[2001:db8::1]:1000", []string{"[2001:db9::1]:80"}, "2001:db9::1"},
		{"[::ffff:10.1.2.3]:1000", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		{"@", nil, "invalid IP"},
		// Whatever a client from outside writes, behind one proxy or several.
		{"10.1.2.3:1000", []string{"10.7.7.7, 203.0.113.9"}, "203.0.113.9"},
		{"10.1.2.3:1000", []string{"10.7.7.7, 10.7.7.8, 203.0.113.9, 10.9.9.9"}, "203.0.113.9"},
		{"10.1.2.3:1000", []string{"127.0.0.1", "203.0.113.9"}, "203.0.113.9"},
		{"10.1.2.3:1000", []string{", ,garbage, 203.0.113.9"}, "203.0.113.9"},
		// A client inside of the trusted networks, honest and not.
		{"10.1.2.3:1000", []string{"10.5.5.5, 10.9.9.9"}, "10.5.5.5"},
		{"10.1.2.3:1000", []string{"10.7.7.7, 10.5.5.5, 10.9.9.9"}, "10.7.7.7"},
		{"10.1.2.3:1000", []string{"6.6.6.6, 10.5.5.5, 10.9.9.9"}, "6.6.6.6"},
		// What a proxy could not read or does not say ends the search at that proxy.
		{"10.1.2.3:1000", []string{"10.5.5.5, unknown"}, "10.1.2.3"},
		{"10.1.2.3:1000", []string{""}, "10.1.2.3"},
	} {
		r := &http.Request{RemoteAddr: c.socket, Header: http.Header{}}
		for _, f := range c.forwarded {
			r.Header.Add("X-Forwarded-For", f)
		}
		require.Equal(t, c.want, l.client(r).String(), "%+v", c)
	}
	for _, bad := range []string{"", "10.0.0.0/33", "host", "::ffff:10.0.0.0/104"} {
		_, err := parseProxies([]string{bad})
		require.Error(t, err, bad)
	}
	require.Equal(t, "2001:db8:1:2::/64", network(parseAddr("2001:db8:1:2:3:4:5:6")))
	require.Equal(t, "203.0.113.9", network(parseAddr("203.0.113.9")))
}

// Only what comes from this machine itself is not counted; a proxy on it that is trusted speaks for others, whatever it says.
func TestWhoIsThisMachine(t *testing.T) {
	t.Parallel()
	trusted, err := parseProxies([]string{"127.0.0.1", "10.0.0.0/8"})
	require.NoError(t, err)
	for _, c := range []struct {
		socket    string
		forwarded []string
		own       bool
	}{
		{"127.0.0.1:1000", nil, true},
		{"127.0.0.2:1000", nil, true},
		{"127.0.0.2:1000", []string{"203.0.113.9"}, true}, // not trusted: what it says counts for nothing
		{"[::1]:1000", nil, true},
		{"127.0.0.1:1000", []string{"203.0.113.9"}, false},
		{"127.0.0.1:1000", []string{"unknown"}, false},
		{"127.0.0.1:1000", []string{"127.0.0.1"}, false},
		{"127.0.0.1:1000", []string{""}, false},
		{"10.1.2.3:1000", []string{"127.0.0.1"}, false},
		{"203.0.113.9:1000", []string{"127.0.0.1"}, false},
	} {
		l := &limits{trusted: trusted}
		r := &http.Request{RemoteAddr: c.socket, Header: http.Header{"X-Forwarded-For": c.forwarded}}
		require.Equal(t, c.own, l.own(r, l.client(r)), "%+v", c)
	}
}

// dialFrom connects as a client whose proxy says where it is.
func (g *bundle) dialFrom(addr string) (*client, *http.Response) {
	g.t.Helper()
	c, resp, err := g.dialWith(http.Header{"X-Forwarded-For": {addr}}, "/ws")
	require.NotNil(g.t, resp, "%v", err)
	return c, resp
}

// An address that connects too often gets 429 and is told when it may again; others, and this machine, notice nothing.
func TestConnectionsOfAnAddressAreLimited(t *testing.T) {
	t.Parallel()
	g := setup(t, 1, func(c *Config) {
		c.TrustedProxies = []string{"127.0.0.1"}
		c.RateLimits.Connects = ratelimit.Rate{PerSecond: 1, Burst: 3}
	})
	for range 3 {
		c, _ := g.dialFrom("203.0.113.9")
		require.NotNil(t, c)
	}
	c, resp := g.dialFrom("203.0.113.9")
	require.Nil(t, c)
	require.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
	require.Equal(t, "1", resp.Header.Get("Retry-After"))
	c, _ = g.dialFrom("203.0.113.10")
	require.NotNil(t, c)
	for range 10 {
		g.dial()
	}
	for range 3 { // only a socket is of this machine for sure
		c, _ = g.dialFrom("127.0.0.9")
		require.NotNil(t, c)
	}
	c, resp = g.dialFrom("127.0.0.9")
	require.Nil(t, c)
	require.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
	<-time.After(time.Second) // as it was told
	c, _ = g.dialFrom("203.0.113.9")
	require.NotNil(t, c)
}

// A connection that floods is refused, and closed when it does not heed; a canary beside it notices nothing.
func TestFloodsAreRefusedAndThenClosed(t *testing.T) {
	t.Parallel()
	g := setup(t, 1, func(c *Config) {
		c.RateLimits = RateLimits{
			ConnectionMessages: ratelimit.Rate{PerSecond: 5, Burst: 5}, MemberMessages: ratelimit.Rate{PerSecond: 100, Burst: 100},
			Refusals: ratelimit.Rate{PerSecond: 1, Burst: 100},
		}
	})
	flood, canary := g.join("a"), g.join("a")
	for i := range 200 {
		if flood.write(fmt.Sprintf(`{"message":{"target":"a","content":"x","message_id":"f%d"}}`, i)) != nil {
			break
		}
	}
	canary.send(`{"message":{"target":"a","content":"still here","message_id":"c1"}}`)
	require.Equal(t, "c1", canary.find("ack").GetAck().GetMessageId())
	flood.expectClose(clientv1.CloseCode_CLOSE_CODE_ABUSE)
}

func TestRateLimitSettings(t *testing.T) {
	t.Parallel()
	s, err := load(environ(t))
	require.NoError(t, err)
	require.Equal(t, DefaultRateLimits(), s.RateLimits)
	s, err = load(environ(t, "PARLEY_RATE_LIMIT_MEMBER_MESSAGES=7:9", "PARLEY_RATE_LIMIT_CONNECTS=0", "PARLEY_TRUSTED_PROXIES=10.0.0.0/8,192.0.2.1",
		"PARLEY_REDIS_URL=redis://:secret@redis:6379"))
	require.NoError(t, err)
	c, err := s.config()
	require.NoError(t, err)
	require.Equal(t, ratelimit.Rate{PerSecond: 7, Burst: 9}, c.RateLimits.MemberMessages)
	require.True(t, c.RateLimits.Connects.Off())
	require.Len(t, c.TrustedProxies, 2)
	for setting, value := range map[string]string{
		"PARLEY_RATE_LIMIT_MEMBER_MESSAGES": "many", "PARLEY_TRUSTED_PROXIES": "proxy", "PARLEY_REDIS_URL": "redis://:secret@redis:port",
		"PARLEY_RATE_LIMIT_CONNECTS": "1:0",
	} {
		_, err := load(environ(t, setting+"="+value))
		require.ErrorContains(t, err, setting)
		require.NotContains(t, err.Error(), "secret@")
	}
}
