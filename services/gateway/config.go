package gateway

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/opskit/auth"
	"github.com/parley-rt/parley/libs/opskit/certs"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/protocol/ids"
	"github.com/parley-rt/parley/libs/ratelimit"
	"github.com/parley-rt/parley/services/gateway/internal/ws"
)

// Config of the service. Zero values mean the defaults named; DC, Node and Auth.Mode have none.
type Config struct {
	DC     string
	Region string
	// Node is unique among the nodes of the DC.
	Node string
	// Host is the IP address that other nodes connect to. Default 127.0.0.1.
	Host string
	// Ports; 0 means a free one.
	RemotingPort, DiscoveryPort, PeersPort int
	// Seeds are host:discovery_port of the DC's gateway nodes. Empty: only this one.
	Seeds []string
	// Finder finds them in another way. Default: the seeds.
	Finder actorkit.Finder
	// Quorum is how many nodes must see each other before the node starts. Default 1.
	Quorum int
	// TLS protects the connections between nodes. Default: they are plain.
	TLS *tls.Config
	// DataDir gets GoAkt's own files. Default: the home directory.
	DataDir string
	// Version is what the directory shows.
	Version string

	// Listen is the address for clients. Default 127.0.0.1:8080; port 0 means a free one, see Service.Addr.
	Listen string
	// ClientTLS are the files of the certificate that clients are shown. Empty: they connect without TLS.
	ClientTLS certs.Files
	// WSPath is where clients find the WebSocket. Default /ws. The chat page is at /.
	WSPath string
	// Auth says how members prove who they are. auth.ModeNone lets everybody in as a guest with a server-made member id, for
	// development and trusted networks.
	Auth auth.Config
	// AuthTimeout is how long a client may take to say who it is. Default 10 s.
	AuthTimeout time.Duration
	// AuthDefaultRooms is what tokens without the claim rooms allow, as auth.ParseGrant reads it. Empty: no room.
	AuthDefaultRooms []string
	// AllowedOrigins lists the origins that browsers may come from, "*" for all. Empty: only the gateway's own.
	AllowedOrigins []string
	// MaxConnections open at once; more get HTTP 429. Default 100,000, or what the limit of open files leaves room for. A higher
	// number than that fails the start.
	MaxConnections int
	// AcceptMinPerSecond and AcceptPerSecond bound how many connections are taken a second. In between it is as many as do not
	// hold up those who are connected already. Others wait up to 3 s or are told when to come back. Defaults 225 and 4,000 for
	// each processor; a lower AcceptPerSecond lowers the default of the other.
	AcceptMinPerSecond, AcceptPerSecond int
	// RateLimits bound how much clients may ask for. Default: they do not.
	RateLimits RateLimits
	// TrustedProxies are networks ("10.0.0.0/8") and addresses of proxies that say in X-Forwarded-For who is connecting. Empty: none.
	TrustedProxies []string
	// MaxMessageBytes of one WebSocket message; a larger one is closed with 1009. Default 64 KiB.
	MaxMessageBytes int
	// MaxRooms a connection may be in. Default 100.
	MaxRooms int
	// OutboxBytes may wait for one connection; more closes it with 4001. Default 256 KiB.
	OutboxBytes int
	// BacklogBytes may wait for all slow connections together; beyond it each gets little at a time, and who takes nothing is closed
	// with 4001. Default 64 MiB, or an eighth of what Memory allows.
	BacklogBytes int64
	// Memory is what the process may use: beyond four fifths newcomers get 503, beyond 92 % some connections are closed with 4002.
	// Default: nobody looks.
	Memory Memory
	// WriteTimeout bounds one write of up to 64 KiB. Default 10 s.
	WriteTimeout time.Duration
	// PingEvery is the period of liveness checks; a connection silent for two of them is cut. Default 25 s.
	PingEvery time.Duration
	// FirstFrameWait is how long a client may take to send hello before it gets a new session. Default 500 ms.
	FirstFrameWait time.Duration
	// SessionTTL is how long a session can be resumed after its connection ended. Default 24 h.
	SessionTTL time.Duration
	// SessionReplayLimit is the most messages a resume replays per room; more gives reset. Default 10,000.
	SessionReplayLimit int
	// DrainTimeout bounds sending clients away in Stop. Default 20 s.
	DrainTimeout time.Duration
}

// Deps are what the service is given. Backend and Directory are required and stay the caller's.
type Deps struct {
	// Backend keeps the sessions.
	Backend   persistence.Backend
	Directory dcplane.Directory
	// RateLimits counts over all gateways what must be, and stays the caller's; nil: each gateway counts what it sees.
	RateLimits ratelimit.Store
	// Neighbours are the nodes of other services in this process, to which frames go without sockets; nil: none.
	Neighbours *actorkit.Neighbours
	// Health gets the service's checks; nil: nowhere.
	Health *opskit.Health
	// Logger; nil discards.
	Logger *slog.Logger
	// MeterProvider and TracerProvider; nil: none.
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider
}

func (c Config) withDefaults() Config {
	number := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	text := func(v *string, d string) {
		if *v == "" {
			*v = d
		}
	}
	duration := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	text(&c.Host, "127.0.0.1")
	text(&c.Listen, "127.0.0.1:8080")
	text(&c.WSPath, "/ws")
	number(&c.Quorum, 1)
	number(&c.SessionReplayLimit, 10_000)
	least, most := 225*runtime.GOMAXPROCS(0), 4000*runtime.GOMAXPROCS(0)
	if c.AcceptPerSecond > 0 {
		least = min(least, c.AcceptPerSecond)
	}
	number(&c.AcceptMinPerSecond, least)
	number(&c.AcceptPerSecond, max(most, c.AcceptMinPerSecond))
	duration(&c.PingEvery, 25*time.Second)
	duration(&c.FirstFrameWait, 500*time.Millisecond)
	duration(&c.SessionTTL, 24*time.Hour)
	duration(&c.AuthTimeout, 10*time.Second)
	duration(&c.DrainTimeout, 20*time.Second)
	return c
}

func (d Deps) withDefaults() Deps {
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.MeterProvider == nil {
		d.MeterProvider = metricnoop.NewMeterProvider()
	}
	if d.TracerProvider == nil {
		d.TracerProvider = tracenoop.NewTracerProvider()
	}
	return d
}

// ws is the part of the configuration that is the WebSocket server's.
func (c Config) ws() ws.Config {
	return ws.Config{
		MaxMessageBytes: c.MaxMessageBytes, OutboxBytes: c.OutboxBytes, WriteTimeout: c.WriteTimeout,
		MaxConnections: c.MaxConnections, AllowedOrigins: c.AllowedOrigins,
	}
}

// minSessionTTL keeps sessions alive between two rounds of extending them.
const minSessionTTL = 10 * time.Second

// validate reports every problem at once.
func (c Config) validate() error {
	var problems []error
	fail := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	for _, n := range []struct{ name, value string }{{"dc", c.DC}, {"node", c.Node}} {
		if n.value == "" {
			fail("%s is empty", n.name)
		} else if err := ids.CheckNode(n.value); err != nil {
			fail("%s: %w", n.name, err)
		}
	}
	if net.ParseIP(c.Host) == nil {
		fail("host %q is not an IP address", c.Host)
	}
	for _, p := range []struct {
		name string
		port int
	}{{"remoting port", c.RemotingPort}, {"discovery port", c.DiscoveryPort}, {"peers port", c.PeersPort}} {
		if p.port < 0 || p.port > 65535 {
			fail("%s %d is not in 0–65535", p.name, p.port)
		}
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		fail("listen %q is not host:port", c.Listen)
	}
	if (c.ClientTLS.Cert == "") != (c.ClientTLS.Key == "") {
		fail("client tls has a certificate without a key or a key without a certificate")
	}
	if !isWSPath(c.WSPath) {
		fail("ws path %q is not a path below /", c.WSPath)
	}
	problems = append(problems, c.Auth.Check(), c.RateLimits.check())
	if _, err := parseProxies(c.TrustedProxies); err != nil {
		problems = append(problems, err)
	}
	if grants, err := parseGrants(c.AuthDefaultRooms); err != nil {
		problems = append(problems, err)
	} else if _, err := auth.NewGrants(grants); err != nil {
		problems = append(problems, err)
	}
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"quorum", int64(c.Quorum)},
		{"max rooms", int64(c.MaxRooms)},
		{"accept min per second", int64(c.AcceptMinPerSecond)},
		{"accept per second", int64(c.AcceptPerSecond)},
		{"backlog bytes", c.BacklogBytes},
		{"session replay limit", int64(c.SessionReplayLimit)},
		{"ping every", int64(c.PingEvery)},
		{"first frame wait", int64(c.FirstFrameWait)},
		{"auth timeout", int64(c.AuthTimeout)},
		{"drain timeout", int64(c.DrainTimeout)},
	} {
		if n.value < 0 {
			fail("%s is negative", n.name)
		}
	}
	if c.AcceptMinPerSecond > c.AcceptPerSecond {
		fail("accept min per second %d is above accept per second %d: lower one or raise the other", c.AcceptMinPerSecond, c.AcceptPerSecond)
	}
	if c.SessionTTL < minSessionTTL {
		fail("session ttl %s is below %s", c.SessionTTL, minSessionTTL)
	}
	if err := c.ws().Validate(); err != nil {
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

func isWSPath(path string) bool {
	return strings.HasPrefix(path, "/") && path != "/" && !strings.ContainsAny(path, " {}?#")
}

func (d Deps) validate() error {
	var problems []error
	if d.Backend == nil {
		problems = append(problems, errors.New("backend is missing"))
	}
	if d.Directory == nil {
		problems = append(problems, errors.New("directory is missing"))
	}
	return errors.Join(problems...)
}
