package ws

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
)

// Acceptor is the HTTP handler that upgrades requests to connections. Everything that can refuse a request is checked
// before anything is allocated for it.
type Acceptor struct {
	s        *shared
	logger   *slog.Logger
	open     func(c *Conn, r *http.Request) Handler
	admit    func(r *http.Request) (after time.Duration, ok bool)
	identify Identify
	draining atomic.Bool
	full     atomic.Bool

	mu     sync.Mutex
	closed bool // no connection may begin any more
}

// NewAcceptor returns an acceptor whose connections are visited by wheel. admit says whether there is time for one who asks, and
// if not, when it is to come back. open makes the handler of each new connection; it is called in the connection's own
// goroutine. r is the handshake, whose body and context are over.
func NewAcceptor(
	cfg Config, wheel *Wheel, mp metric.MeterProvider, logger *slog.Logger, admit func(r *http.Request) (after time.Duration, ok bool),
	open func(c *Conn, r *http.Request) Handler,
) (*Acceptor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(mp)
	if err != nil {
		return nil, fmt.Errorf("create instruments: %w", err)
	}
	cfg = cfg.withDefaults()
	s := &shared{cfg: cfg, backlog: cfg.Backlog, buffers: newBuffers(), lists: newFrameLists(), metrics: m, logger: logger, wheel: wheel}
	return &Acceptor{s: s, logger: logger, admit: admit, open: open, identify: func(*http.Request) (any, *Refusal) { return nil, nil }}, nil
}

// IdentifyWith has the acceptor find out who asks. To be called before any request comes.
func (a *Acceptor) IdentifyWith(f Identify) { a.identify = f }

// Active is the number of open connections.
func (a *Acceptor) Active() int { return int(a.s.active.Load()) }

// Opened is the number of connections that were ever opened.
func (a *Acceptor) Opened() uint64 { return a.s.opened.Load() }

// Need says how much room must be made.
type Need int

// Needs, by urgency.
const (
	// NeedNone: only what the backlog is over its limit.
	NeedNone Need = iota
	// NeedRoom in any case.
	NeedRoom
	// NeedRoomNow leaves nobody time to read why it was cut.
	NeedRoomNow
)

// Relieve makes room: it cuts the connections whose peers took nothing of what is being written for StallTimeout, or began a
// message that long ago and did not finish it, and says how many. It is to be called every now and then.
func (a *Acceptor) Relieve(need Need) (cut int) {
	if need != NeedNone || a.s.backlog.Full() {
		for _, c := range a.s.wheel.All() {
			if c.relieve(need == NeedRoomNow) {
				cut++
			}
		}
	}
	a.s.backlog.wake()
	return cut
}

// Shed closes n connections with code, first those for which much waits, then those that came last, and says how many it closed.
// last is sent before that, in each connection's encoding, to those for whom little waits.
func (a *Acceptor) Shed(n int, code clientv1.CloseCode, last func(codec.Codec) []byte) int {
	type candidate struct {
		c     *Conn
		heavy int // bytes that wait, if they are many
	}
	var all []candidate
	for _, c := range a.s.wheel.All() {
		one := candidate{c: c}
		if waits := c.waits(); waits > a.s.cfg.OutboxBytes/8 {
			one.heavy = waits
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.heavy, a.heavy), b.c.opened.Compare(a.c.opened))
	})
	closed := 0
	for _, one := range all {
		if closed >= n {
			break
		}
		if one.c.Closing() {
			continue
		}
		if one.heavy == 0 {
			one.c.Send(last(one.c.Codec()))
		}
		one.c.CloseWith(code)
		closed++
	}
	return closed
}

// SetDraining makes further upgrades answered with 503.
func (a *Acceptor) SetDraining(on bool) { a.draining.Store(on) }

// SetFull makes further upgrades answered with 503, because there is no memory for them.
func (a *Acceptor) SetFull(on bool) { a.full.Store(on) }

// Shutdown refuses further upgrades, cuts every connection and waits until all goroutines are gone or ctx ends.
func (a *Acceptor) Shutdown(ctx context.Context) error {
	a.SetDraining(true)
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.s.running.Wait()
	}()
	again := time.NewTicker(20 * time.Millisecond) // for upgrades that were under way
	defer again.Stop()
	for {
		for _, c := range a.s.wheel.All() {
			c.Kill()
		}
		select {
		case <-done:
			if a.s.loop != nil {
				a.s.loop.close()
			}
			return nil
		case <-ctx.Done():
			return fmt.Errorf("wait for %d connections: %w", a.Active(), ctx.Err())
		case <-again.C:
		}
	}
}

// ServeHTTP upgrades or refuses.
func (a *Acceptor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		a.refuse(w, http.StatusMethodNotAllowed, "a WebSocket handshake is a GET request")
		return
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
		a.refuse(w, http.StatusBadRequest, "a WebSocket handshake has no body") // its bytes would be taken for frames
		return
	case !strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		w.Header().Set("Upgrade", "websocket")
		w.Header().Add("Connection", "Upgrade")
		a.refuse(w, http.StatusUpgradeRequired, "this address speaks WebSocket only")
		return
	case a.draining.Load():
		a.later(w, a.retryAfter())
		a.refuse(w, http.StatusServiceUnavailable, "this node is being drained; connect again")
		return
	case a.full.Load():
		a.later(w, fullFor+a.retryAfter())
		a.refuse(w, http.StatusServiceUnavailable, "this node has no memory for more connections; connect again later")
		return
	case !originAllowed(a.s.cfg.AllowedOrigins, r):
		a.refuse(w, http.StatusForbidden, "connections from this origin are not allowed")
		return
	case a.s.cfg.OnlyHere && len(a.s.cfg.AllowedOrigins) == 0 && !nameOfHere(r):
		a.refuse(w, http.StatusForbidden, "this gateway listens for its own machine only, and a page that calls it by another name than localhost "+
			"may be anybody's: open it as localhost or by its address, or name the page's origin in PARLEY_ALLOWED_ORIGINS")
		return
	}
	proto, ok := negotiate(r.Header.Values("Sec-Websocket-Protocol"))
	if !ok {
		a.refuse(w, http.StatusBadRequest, "none of the offered subprotocols is known; known are "+codec.SubprotocolJSON+" and "+codec.SubprotocolBinary)
		return
	}
	if !goodKey(r.Header.Values("Sec-Websocket-Key")) {
		a.refuse(w, http.StatusBadRequest, "Sec-WebSocket-Key is not 16 bytes in Base64")
		return
	}
	if after, ok := a.admit(r); !ok {
		a.later(w, after)
		a.refuse(w, http.StatusServiceUnavailable, "too many clients are connecting; connect again later")
		return
	}
	who, refused := a.identify(r)
	if refused != nil {
		for name, values := range refused.Header {
			w.Header()[name] = values
		}
		a.refuse(w, refused.Status, refused.Text)
		return
	}
	if !a.begin() {
		a.later(w, a.retryAfter())
		a.refuse(w, http.StatusTooManyRequests, "too many connections; try again")
		return
	}
	c, err := upgrade(w, r, a.s, proto)
	if err != nil {
		a.s.end()
		a.s.metrics.refusedWith(http.StatusBadRequest)
		a.logger.Debug("handshake refused", "remote_addr", r.RemoteAddr, "err", err)
		return
	}
	// The handler returns at once, so that net/http's goroutine with its deep stack goes away.
	r = handshakeOnly(r, who)
	c.open = func() Handler { return a.open(c, r) }
	if a.s.reads(c); c.turns == nil {
		go c.serve()
		return
	}
	c.turns.first()
}

// fullFor is how long a client waits at least for a node without memory.
const fullFor = 5 * time.Second

// begin takes a place for a connection; shared.end gives it back.
func (a *Acceptor) begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.s.active.Load() >= int64(a.s.cfg.MaxConnections) {
		return false
	}
	a.s.active.Add(1)
	a.s.opened.Add(1)
	a.s.running.Add(1)
	return true
}

func (s *shared) end() {
	s.active.Add(-1)
	s.running.Done()
}

// later tells a client when to come back. The header has whole seconds.
func (a *Acceptor) later(w http.ResponseWriter, after time.Duration) {
	w.Header().Set("Retry-After", RetryAfter(after))
}

// RetryAfter is the header's value.
func RetryAfter(after time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(after.Seconds()))))
}

// retryAfter is a time for one who is refused whatever the load: not the same for all.
func (a *Acceptor) retryAfter() time.Duration {
	return a.s.cfg.RetryAfter + rand.N(2*a.s.cfg.RetryAfter)
}

// refuse ends the socket as well. What follows a refused handshake is no request: a proxy that believes in the upgrade passes on
// unseen whatever a client sends as frames. And the next attempt is to take its place like any other.
func (a *Acceptor) refuse(w http.ResponseWriter, status int, text string) {
	w.Header()["Connection"] = append([]string{"close"}, w.Header()["Connection"]...) // net/http obeys the first one only
	a.s.metrics.refusedWith(status)
	http.Error(w, text, status)
}

// goodKey says whether a handshake has exactly one key, of 16 bytes.
func goodKey(values []string) bool {
	if len(values) != 1 {
		return false
	}
	key, err := base64.StdEncoding.DecodeString(values[0])
	return err == nil && len(key) == 16
}

// negotiate picks the subprotocol to answer with; none offered means JSON, with nothing answered.
func negotiate(headers []string) (proto string, ok bool) {
	var offered []string
	for _, h := range headers {
		for p := range strings.SplitSeq(h, ",") {
			if p = strings.TrimSpace(p); p != "" {
				offered = append(offered, p)
			}
		}
	}
	c, ok := codec.Negotiate(offered, codec.JSON{}, codec.Binary{})
	if !ok || len(offered) == 0 {
		return "", ok
	}
	return c.Subprotocol(), true
}

// originAllowed keeps other sites' pages from using a visitor's network position and cookies: browsers send Origin with
// every handshake, and pages cannot change it.
func originAllowed(allowed []string, r *http.Request) bool {
	values := r.Header.Values("Origin")
	if len(values) == 0 {
		return true
	}
	if len(values) > 1 {
		return false
	}
	if slices.Contains(allowed, "*") {
		return true
	}
	origin, err := parseOrigin(values[0])
	if err != nil {
		return false
	}
	if len(allowed) == 0 {
		return strings.EqualFold(origin.Host, r.Host)
	}
	return slices.ContainsFunc(allowed, func(a string) bool {
		u, err := parseOrigin(a)
		return err == nil && strings.EqualFold(u.Scheme, origin.Scheme) && strings.EqualFold(u.Host, origin.Host)
	})
}

// nameOfHere says whether the name under which a page found a gateway that only this machine reaches leads here for certain. Anybody
// can have a name of theirs lead to 127.0.0.1, after their page has been loaded from elsewhere (DNS rebinding): such a page's
// origin is the gateway's, as far as names tell. Whoever is no page says what it likes, and gains nothing by it.
func nameOfHere(r *http.Request) bool {
	if len(r.Header.Values("Origin")) == 0 {
		return true
	}
	host := (&url.URL{Host: r.Host}).Hostname()
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost") // which leads nowhere else (RFC 6761)
}

// parseOrigin takes "scheme://host[:port]" and nothing more. "*" passes as it is.
func parseOrigin(s string) (*url.URL, error) {
	if s == "*" {
		return &url.URL{Host: s}, nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || (u.Path != "" && u.Path != "/") {
		return nil, fmt.Errorf("origin %q is not scheme://host[:port]", s)
	}
	return u, nil
}
