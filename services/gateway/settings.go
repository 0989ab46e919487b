package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/parley-rt/parley/libs/actorkit"
	planes "github.com/parley-rt/parley/libs/dcplane/open"
	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/opskit/auth"
	"github.com/parley-rt/parley/libs/opskit/certs"
	"github.com/parley-rt/parley/libs/opskit/memory"
	"github.com/parley-rt/parley/libs/persistence/open"
	"github.com/parley-rt/parley/libs/protocol/ids"
	"github.com/parley-rt/parley/libs/ratelimit/redis"
	"github.com/parley-rt/parley/services/gateway/internal/ws"
)

// Settings are what an operator says about a gateway process: flags, variables PARLEY_…, keys of a file.
type Settings struct {
	opskit.ProcessConfig `embed:""`
	actorkit.Settings    `embed:""`

	JournalURL      opskit.Secret `name:"journal-url" required:"true" placeholder:"URL" help:"The journal, the same for all services: postgres://user:password@host/database, or sqlite://path for a single process."`
	Migrate         string        `enum:"auto,off" default:"off" help:"Whether to bring the journal's schema up to date at the start: auto, or off to refuse one that is not."`
	ControlPlaneURL opskit.Secret `name:"control-plane-url" required:"true" placeholder:"URL" help:"The control plane, the same for all services: nats://host:port or etcd://host:port, several hosts separated by commas."`

	Listen  string `default:":8080" help:"Address for clients: the WebSocket and the chat page."`
	TLSCert string `name:"tls-cert" placeholder:"FILE" help:"Certificate that clients are shown, with the chain to its authority; PEM. Read again when it changes. With --tls-key; without both, clients connect without TLS."`
	TLSKey  string `name:"tls-key" placeholder:"FILE" help:"Private key of that certificate; PEM. Read again when it changes."`
	WSPath  string `name:"ws-path" default:"/ws" help:"Path of the WebSocket."`

	Auth             auth.Config   `embed:"" prefix:"auth-"`
	AuthTimeout      time.Duration `default:"10s" help:"How long a client may take to say who it is; then its connection is closed with 4501."`
	AuthDefaultRooms []string      `sep:";" placeholder:"PATTERN=CAPABILITIES" help:"What a token without the claim rooms allows, such as chat-*=join,publish;news=join; a pattern alone gives all capabilities but moderate. Empty: no room."`

	AllowedOrigins     []string    `help:"Origins that browsers may come from, comma-separated, * for all. Empty: only the gateway's own; on a loopback address without TLS only as localhost or an address."`
	MaxMessageBytes    int         `default:"65536" help:"Largest WebSocket message in bytes; a larger one closes the connection with 1009."`
	MaxConnections     int         `placeholder:"N" help:"Connections open at once at most; more are told to come back with HTTP 429. Default: 100000, or what the limit of open files leaves room for."`
	MemoryLimit        memory.Size `placeholder:"SIZE" help:"Memory that the process may use, such as 4GiB: beyond four fifths newcomers get HTTP 503, beyond 92 % some connections are told to come back later. Default: the limit of its cgroup, which holds in any case, else the machine's memory."`
	AcceptMinPerSecond int         `placeholder:"N" help:"Connections taken a second at least when more come, however busy this node is. Default: 225 for each processor, which lets 10,000 in within 30 s on 2."`
	AcceptPerSecond    int         `placeholder:"N" help:"Connections taken a second at most when this node has time for them. Default: 4000 for each processor."`

	RedisURL       opskit.Secret `name:"redis-url" placeholder:"URL" help:"Redis server that counts for all gateways what their rate limits count together, such as redis://host:6379. Without one each gateway counts what it sees."`
	RateLimits     RateLimits    `embed:"" prefix:"rate-limit-"`
	TrustedProxies []string      `placeholder:"NETWORK" help:"Networks and addresses of proxies that say in X-Forwarded-For who is connecting, comma-separated, such as 10.0.0.0/8. Empty: none does."`

	SessionTTL         time.Duration `name:"session-ttl" default:"24h" help:"How long a session can be resumed after its connection ended."`
	SessionReplayLimit int           `default:"10000" help:"Most messages that a resume replays per room; more gives reset."`
}

// Validate returns every problem with what to do about it.
func (s *Settings) Validate() error {
	var problems []error
	if !s.JournalURL.Empty() {
		err := open.Check(s.JournalURL.Reveal())
		if err == nil && strings.HasPrefix(s.JournalURL.Reveal(), "memory:") {
			err = errors.New("memory:// would lose every message with this process and be seen by no other: name a database, postgres://…")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("PARLEY_JOURNAL_URL: %w", err))
		}
	}
	if !s.ControlPlaneURL.Empty() {
		if err := planes.Check(s.ControlPlaneURL.Reveal()); err != nil {
			problems = append(problems, fmt.Errorf("PARLEY_CONTROL_PLANE_URL: %w", err))
		}
	}
	problems = append(problems, s.Auth.Check())
	if !s.RedisURL.Empty() {
		if err := redis.Check(s.RedisURL.Reveal()); err != nil {
			problems = append(problems, fmt.Errorf("PARLEY_REDIS_URL: %w", err))
		}
	}
	if _, err := parseProxies(s.TrustedProxies); err != nil {
		problems = append(problems, fmt.Errorf("PARLEY_TRUSTED_PROXIES: %w", err))
	}
	problems = append(problems, s.checkClients()...)
	if s.Discovery == actorkit.DiscoveryNATS && !s.ControlPlaneURL.Empty() && !strings.HasPrefix(s.ControlPlaneURL.Reveal(), "nats://") && !strings.HasPrefix(s.ControlPlaneURL.Reveal(), "tls://") {
		problems = append(problems, errors.New("PARLEY_DISCOVERY: nats uses the control plane's server, which is not NATS here: choose static, dns or kubernetes"))
	}
	problems = append(problems, checkName("PARLEY_DC", s.DC), checkName("PARLEY_NODE", s.Node))
	// Only of a configuration that has what every one must have and in which nothing else is wrong.
	if _, err := s.Host(); err == nil && s.DC != "" && s.Node != "" && errors.Join(problems...) == nil {
		if c, err := s.config(); err != nil {
			problems = append(problems, err)
		} else {
			problems = append(problems, c.withDefaults().validate())
		}
	}
	problems = append(problems, opskit.CheckPorts(context.Background(), s.listens()...)...)
	return errors.Join(problems...)
}

// checkClients checks what concerns clients.
func (s *Settings) checkClients() []error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if s.MaxMessageBytes <= 0 {
		bad("PARLEY_MAX_MESSAGE_BYTES: %d lets no message in: give at least 1", s.MaxMessageBytes)
	}
	if s.SessionReplayLimit <= 0 {
		bad("PARLEY_SESSION_REPLAY_LIMIT: %d would reset every resume: give at least 1", s.SessionReplayLimit)
	}
	if s.SessionTTL < minSessionTTL {
		bad("PARLEY_SESSION_TTL: %s is shorter than connections are looked after: give at least %s", s.SessionTTL, minSessionTTL)
	}
	switch {
	case s.TLSCert != "" && s.TLSKey == "":
		bad("PARLEY_TLS_KEY: is not set, and PARLEY_TLS_CERT is: name the file of the certificate's private key, or leave both out to serve without TLS")
	case s.TLSCert == "" && s.TLSKey != "":
		bad("PARLEY_TLS_CERT: is not set, and PARLEY_TLS_KEY is: name the file of the key's certificate, or leave both out to serve without TLS")
	case s.TLSCert != "":
		if _, err := certs.Load(certs.Files{Cert: s.TLSCert, Key: s.TLSKey}, certs.Deps{}); err != nil {
			bad("PARLEY_TLS_CERT and PARLEY_TLS_KEY: %w: give the PEM files of a certificate and its own private key", err)
		}
	}
	if s.AuthTimeout <= 0 {
		bad("PARLEY_AUTH_TIMEOUT: %s leaves nobody time to say who they are: give some seconds", s.AuthTimeout)
	}
	if grants, err := parseGrants(s.AuthDefaultRooms); err != nil {
		bad("PARLEY_AUTH_DEFAULT_ROOMS: %w", err)
	} else if _, err := auth.NewGrants(grants); err != nil {
		bad("PARLEY_AUTH_DEFAULT_ROOMS: %w", err)
	}
	if !isWSPath(s.WSPath) {
		bad("PARLEY_WS_PATH: %q is not a path below /: give one such as /ws", s.WSPath)
	}
	for _, origin := range s.AllowedOrigins {
		if err := (ws.Config{AllowedOrigins: []string{origin}}).Validate(); err != nil {
			bad("PARLEY_ALLOWED_ORIGINS: %w: give one such as https://chat.example.com, or *", err)
		}
	}
	return problems
}

// checkName checks the name of a node or a datacenter. One that is missing is reported as such.
func checkName(setting, name string) error {
	if name == "" {
		return nil
	}
	if err := ids.CheckNode(name); err != nil {
		return fmt.Errorf("%s: %w", setting, err)
	}
	return nil
}

// listens are all addresses that the process binds.
func (s *Settings) listens() []opskit.Port {
	ports := []opskit.Port{{Setting: "PARLEY_LISTEN", Addr: s.Listen}, {Setting: "PARLEY_OPS_LISTEN", Addr: s.OpsListen}}
	for _, a := range s.Addresses() {
		ports = append(ports, opskit.Port{Setting: a.Setting, Addr: a.Addr, UDP: a.UDP})
	}
	return ports
}

// config is the service's part.
func (s *Settings) config() (Config, error) {
	var discovery actorkit.NATSServer
	if s.Discovery == actorkit.DiscoveryNATS {
		var err error
		if discovery.URL, discovery.Options, err = planes.NATS(s.ControlPlaneURL.Reveal()); err != nil {
			return Config{}, err
		}
	}
	node, err := s.Apply(actorkit.NodeConfig{}, discovery, systemName(s.DC))
	if err != nil {
		return Config{}, err
	}
	var budget Memory
	switch found, err := memory.Find(int64(s.MemoryLimit)); {
	case err == nil:
		budget = found
	case !errors.Is(err, memory.ErrUnknown):
		return Config{}, fmt.Errorf("PARLEY_MEMORY_LIMIT: %w", err)
	}
	return Config{
		Memory: budget,
		DC:     s.DC, Region: s.Region, Node: s.Node, DataDir: s.DataDir, Version: opskit.Version().Version,
		Host: node.Host, RemotingPort: node.RemotingPort, DiscoveryPort: node.DiscoveryPort, PeersPort: node.PeersPort,
		Finder: node.Finder, Quorum: node.Quorum, TLS: node.TLS,
		Listen: s.Listen, ClientTLS: certs.Files{Cert: s.TLSCert, Key: s.TLSKey}, WSPath: s.WSPath, Auth: s.Auth, AuthTimeout: s.AuthTimeout, AuthDefaultRooms: s.AuthDefaultRooms,
		AllowedOrigins: s.AllowedOrigins, MaxMessageBytes: s.MaxMessageBytes,
		MaxConnections: s.MaxConnections, AcceptMinPerSecond: s.AcceptMinPerSecond, AcceptPerSecond: s.AcceptPerSecond,
		RateLimits: s.RateLimits, TrustedProxies: s.TrustedProxies,
		SessionTTL: s.SessionTTL, SessionReplayLimit: s.SessionReplayLimit,
	}, nil
}
