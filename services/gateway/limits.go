package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/ratelimit"
	"github.com/parley-rt/parley/services/gateway/internal/member"
	"github.com/parley-rt/parley/services/gateway/internal/ws"
)

// RateLimits are how much clients may ask for. Zero values limit nothing.
type RateLimits struct {
	Connects           ratelimit.Rate `default:"50:1000" help:"New connections of one IP address (an IPv6 /64 is one), on all gateways together; more get HTTP 429. This machine's own are not counted. This and the others: so many a second on average, and after the colon at once; 0 for no limit."`
	MemberMessages     ratelimit.Rate `default:"500:2500" help:"Messages and signals of one member, on all connections and gateways together."`
	MemberBytes        ratelimit.Rate `default:"2097152:16777216" help:"Bytes of their contents."`
	ConnectionMessages ratelimit.Rate `default:"500:2500" help:"Messages of one connection."`
	ConnectionBytes    ratelimit.Rate `default:"2097152:16777216" help:"Bytes of their contents."`
	ConnectionSignals  ratelimit.Rate `default:"100:500" help:"Signals of one connection."`
	ConnectionRequests ratelimit.Rate `default:"20:200" help:"Joins, pages of history, questions for presence, new tokens and pings of one connection. The rooms that it resumes with are not counted."`
	Refusals           ratelimit.Rate `default:"10:2000" help:"Frames of one connection that may be refused because of these limits, or because they are wrong or not allowed; one that goes on is closed with 4505."`
}

// DefaultRateLimits are those of a gateway whose operator says nothing.
func DefaultRateLimits() RateLimits {
	return RateLimits{
		Connects:           ratelimit.Rate{PerSecond: 50, Burst: 1000},
		MemberMessages:     ratelimit.Rate{PerSecond: 500, Burst: 2500},
		MemberBytes:        ratelimit.Rate{PerSecond: 2 << 20, Burst: 16 << 20},
		ConnectionMessages: ratelimit.Rate{PerSecond: 500, Burst: 2500},
		ConnectionBytes:    ratelimit.Rate{PerSecond: 2 << 20, Burst: 16 << 20},
		ConnectionSignals:  ratelimit.Rate{PerSecond: 100, Burst: 500},
		ConnectionRequests: ratelimit.Rate{PerSecond: 20, Burst: 200},
		Refusals:           ratelimit.Rate{PerSecond: 10, Burst: 2000},
	}
}

func (l RateLimits) check() error {
	var problems []error
	for _, r := range []struct {
		name string
		rate ratelimit.Rate
	}{
		{"connects", l.Connects}, {"member messages", l.MemberMessages}, {"member bytes", l.MemberBytes},
		{"connection messages", l.ConnectionMessages}, {"connection bytes", l.ConnectionBytes}, {"connection signals", l.ConnectionSignals},
		{"connection requests", l.ConnectionRequests}, {"refusals", l.Refusals},
	} {
		if err := r.rate.Check(); err != nil {
			problems = append(problems, fmt.Errorf("rate limit of %s: %w", r.name, err))
		}
	}
	return errors.Join(problems...)
}

// limits are the gateway's rate limits at work.
type limits struct {
	limiter  *ratelimit.Limiter
	connects *ratelimit.Direct
	members  *member.Limits // nil: none
	trusted  []netip.Prefix
}

func newLimits(cfg Config, deps Deps, logger *slog.Logger) (*limits, error) {
	trusted, err := parseProxies(cfg.TrustedProxies)
	if err != nil {
		return nil, err
	}
	c := cfg.RateLimits
	limiter, err := ratelimit.New(ratelimit.Config{
		Node: cfg.DC + "/" + cfg.Node, Keys: max(cfg.MaxConnections, 100_000),
		Nodes:  func() int { return len(deps.Directory.Nodes(cfg.DC, ServiceName)) },
		Logger: opskit.RateLimited(logger), MeterProvider: deps.MeterProvider,
	}, deps.RateLimits)
	if err != nil {
		return nil, err
	}
	l := &limits{limiter: limiter, trusted: trusted, connects: limiter.Direct("connect", ratelimit.Limit{Pieces: c.Connects})}
	c.Connects = ratelimit.Rate{}
	if c != (RateLimits{Refusals: c.Refusals}) {
		l.members = &member.Limits{
			Messages: limiter.Own("connection", ratelimit.Limit{Pieces: c.ConnectionMessages, Bytes: c.ConnectionBytes}),
			Signals:  limiter.Own("signal", ratelimit.Limit{Pieces: c.ConnectionSignals, Bytes: c.ConnectionBytes}),
			Requests: limiter.Own("request", ratelimit.Limit{Pieces: c.ConnectionRequests}),
			Member:   limiter.Shared("member", ratelimit.Limit{Pieces: c.MemberMessages, Bytes: c.MemberBytes}),
			Hold:     500 * time.Millisecond, // a round trip to the other side of the world and a slow way
			Refusals: limiter.Own("refusal", ratelimit.Limit{Pieces: c.Refusals}),
		}
	}
	return l, nil
}

// admit refuses a handshake from an address that made too many. It may wait for the store, for no longer than 20 ms.
func (l *limits) admit(r *http.Request) *ws.Refusal {
	addr := l.client(r)
	if !addr.IsValid() || l.own(r, addr) {
		return nil
	}
	after, ok := l.connects.Take(context.WithoutCancel(r.Context()), network(addr), ratelimit.One)
	if ok {
		return nil
	}
	return &ws.Refusal{
		Status: http.StatusTooManyRequests, Text: "too many connections from your address; connect again later",
		Header: http.Header{"Retry-After": {ws.RetryAfter(after)}},
	}
}

// network is what counts as one address: who has an IPv6 address has a whole network of them.
func network(addr netip.Addr) string {
	if addr.Is6() {
		if p, err := addr.WithZone("").Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.String()
}

// own tells whether a handshake is this machine's own: the socket is, and it does not belong to a proxy here that speaks for others.
// What a header says may be invented.
func (l *limits) own(r *http.Request, client netip.Addr) bool {
	return client.IsLoopback() && client == parseAddr(r.RemoteAddr) && (len(r.Header.Values(forwardedFor)) == 0 || !l.trusts(client))
}

const forwardedFor = "X-Forwarded-For"

// client is the address that a handshake comes from: that of the socket, or if that is a trusted proxy's, the last one in the
// X-Forwarded-For header that is none. What is before that may be anybody's invention. Not valid: it cannot be told.
//
// Each proxy appends whom it got the request from, so an address from outside of the trusted ones ends the search whatever its owner
// wrote before it. All are trusted only for a client inside of the trusted networks, and then the first counts. It may be invented;
// but such a client could as well invent one of outside, before its own: whoever is trusted is believed.
func (l *limits) client(r *http.Request) netip.Addr {
	addr := parseAddr(r.RemoteAddr)
	if !l.trusts(addr) {
		return addr
	}
	hops := strings.Split(strings.Join(r.Header.Values(forwardedFor), ","), ",")
	for _, hop := range slices.Backward(hops) {
		next := parseAddr(strings.TrimSpace(hop))
		if !next.IsValid() {
			return addr
		}
		if addr = next; !l.trusts(addr) {
			return addr
		}
	}
	return addr
}

func (l *limits) trusts(addr netip.Addr) bool {
	return addr.IsValid() && slices.ContainsFunc(l.trusted, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// parseAddr takes an address with or without a port.
func parseAddr(s string) netip.Addr {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	addr, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap()
}

// parseProxies takes networks and single addresses.
func parseProxies(texts []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if addr, addrErr := netip.ParseAddr(text); addrErr == nil {
			p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("trusted proxy %q is no network such as 10.0.0.0/8, and no address", text)
		}
		if p.Addr().Is4In6() {
			return nil, fmt.Errorf("trusted proxy %q: write it as IPv4", text)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}

// identify is a ws.Identify: it looks at where a handshake comes from, and then at who it is.
func (s *Service) identify(r *http.Request) (who any, refused *ws.Refusal) {
	if refused := s.limits.admit(r); refused != nil {
		return nil, refused
	}
	if s.auth == nil {
		return nil, nil
	}
	return s.auth.identify(r)
}
