package scheduler

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/opskit/adminapi"
	"github.com/parley-rt/parley/libs/opskit/auth"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/protocol/ids"
	"github.com/parley-rt/parley/services/scheduler/internal/api"
)

// Config of the service. Zero values mean the defaults named; DC and Node have none.
type Config struct {
	DC     string
	Region string
	// Node is unique among the nodes of the DC and survives restarts.
	Node string
	// Host is the IP address that other nodes connect to. Default 127.0.0.1.
	Host string
	// Ports; 0 means a free one.
	RemotingPort, DiscoveryPort, PeersPort int
	// Seeds are host:discovery_port of the DC's scheduler nodes. Empty: only this one.
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

	// LeaseTTL is how long the lease of the schedule book lasts: when its node dies another has the book after about that.
	// Default 2.5 s.
	LeaseTTL time.Duration
	// APIListen is the address of the API for administrators; port 0 means a free one, see Service.APIAddr. Empty: none.
	APIListen string
	// Auth says how administrators prove who they are. Required with APIListen.
	Auth auth.Config

	// now is the clock by which schedules are due, which tests may set forward. Default time.Now.
	now func() time.Time
}

// Deps are what the service is given. Backend and Directory are required and stay the caller's.
type Deps struct {
	Backend   persistence.Backend
	Directory dcplane.Directory
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
	if c.Host == "" {
		c.Host = "127.0.0.1"
	}
	if c.Quorum == 0 {
		c.Quorum = 1
	}
	if c.now == nil {
		c.now = time.Now
	}
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

// validate reports every problem at once.
func (c Config) validate() error {
	var problems []error
	fail := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	for _, n := range []struct{ setting, name string }{{"dc", c.DC}, {"node", c.Node}} {
		if n.name == "" {
			fail("%s is empty", n.setting)
		} else if err := ids.CheckNode(n.name); err != nil {
			fail("%s: %w", n.setting, err)
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
	if c.Quorum < 0 {
		fail("quorum is negative")
	}
	if c.LeaseTTL < 0 {
		fail("lease ttl is negative")
	}
	if c.APIListen != "" {
		problems = append(problems, c.api().Check())
	}
	return errors.Join(problems...)
}

func (c Config) api() adminapi.Config {
	return adminapi.Config{Listen: c.APIListen, Auth: c.Auth, MaxRequestBytes: api.MaxRequestBytes}
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
