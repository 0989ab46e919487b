package rooms

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
)

// Config of the service. Zero values mean the defaults named; DC and Node have none.
type Config struct {
	DC     string
	Region string
	// Node is unique among the rooms nodes of the DC and survives restarts: it is the owner written into the journal.
	Node string
	// Host is the IP address that other nodes connect to. Default 127.0.0.1.
	Host string
	// Ports; 0 means a free one.
	RemotingPort, DiscoveryPort, PeersPort int
	// Seeds are host:discovery_port of the DC's rooms nodes. Empty: only this one.
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

	// RateLimits bound what members post in one room. Default: they do not.
	RateLimits RateLimits
	// MaxContentBytes of one message; a larger one is TOO_LARGE. Default 64 KiB.
	MaxContentBytes int
	// RoomQueueBytes and NodeQueueBytes bound what waits for one room and for all of them. Defaults 8 MiB and 128 MiB.
	RoomQueueBytes, NodeQueueBytes int64
	// IdleAfter is how long a room that nobody uses stays in memory. Default 2 min.
	IdleAfter time.Duration
	// ReadsPerRoom and ReadsPerNode bound concurrent reads of the journal. Defaults 4 and 64.
	ReadsPerRoom, ReadsPerNode int
	// CommitTimeout bounds one append to the journal. Default 4 s.
	CommitTimeout time.Duration
	// StartTimeout bounds claim and recovery of a room. Default 15 s.
	StartTimeout time.Duration
	// FencedMin and FencedMax bound the random time for which a room that was lost is not claimed. Defaults 1 s and 5 s.
	FencedMin, FencedMax time.Duration
	// DrainTimeout bounds giving the rooms away in Stop; less when Stop's context ends earlier. Default 30 s.
	DrainTimeout time.Duration
	// MovesPerSecond is how many rooms this node gives at most to nodes that have joined; negative: none. Default 200.
	MovesPerSecond int
	// SettleAfter is how long the rooms nodes must have been the same before that. Default 10 s.
	SettleAfter time.Duration
	// RestFor is how long a room stays after it came here or could not be given away. Default 2 min.
	RestFor time.Duration
	// TakeoverEvery is the period of asking the journal for rooms that were lost. Default 1 s.
	TakeoverEvery time.Duration
	// BlindAfter is how long that may fail before the node tells its peers. Default 3 s.
	BlindAfter time.Duration
	// APIListen is the address of the API for administrators; port 0 means a free one, see Service.APIAddr. Empty: none.
	APIListen string
	// Auth says how administrators prove who they are. Required with APIListen.
	Auth auth.Config

	// knownAfter is shortened by tests that let nodes rob each other.
	knownAfter time.Duration
	// now is the rooms' clock, which tests may set forward. Default time.Now.
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
	// APIParts are APIs of other services in this process, served at the address of this one's; nil: none.
	APIParts []adminapi.Part
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
	size := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	duration := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	if c.Host == "" {
		c.Host = "127.0.0.1"
	}
	number(&c.Quorum, 1)
	number(&c.MaxContentBytes, 64<<10)
	number(&c.ReadsPerRoom, 4)
	number(&c.ReadsPerNode, 64)
	size(&c.RoomQueueBytes, 8<<20)
	size(&c.NodeQueueBytes, 128<<20)
	duration(&c.IdleAfter, 2*time.Minute)
	duration(&c.CommitTimeout, 4*time.Second)
	duration(&c.StartTimeout, 15*time.Second)
	duration(&c.FencedMin, time.Second)
	duration(&c.FencedMax, 5*time.Second)
	duration(&c.DrainTimeout, 30*time.Second)
	duration(&c.TakeoverEvery, time.Second)
	duration(&c.BlindAfter, 3*time.Second)
	if c.now == nil {
		c.now = time.Now
	}
	number(&c.MovesPerSecond, 200)
	duration(&c.SettleAfter, 10*time.Second)
	duration(&c.RestFor, 2*time.Minute)
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
	if c.DC == "" {
		fail("dc is empty")
	} else if err := ids.CheckNode(c.DC); err != nil {
		fail("dc: %w", err)
	}
	if c.Node == "" {
		fail("node is empty")
	} else if err := ids.CheckNode(c.Node); err != nil {
		fail("node: %w", err)
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
	problems = append(problems, c.RateLimits.check())
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"quorum", int64(c.Quorum)},
		{"max content bytes", int64(c.MaxContentBytes)},
		{"room queue bytes", c.RoomQueueBytes},
		{"node queue bytes", c.NodeQueueBytes},
		{"reads per room", int64(c.ReadsPerRoom)},
		{"reads per node", int64(c.ReadsPerNode)},
		{"idle after", int64(c.IdleAfter)},
		{"commit timeout", int64(c.CommitTimeout)},
		{"start timeout", int64(c.StartTimeout)},
		{"fenced min", int64(c.FencedMin)},
		{"drain timeout", int64(c.DrainTimeout)},
		{"settle after", int64(c.SettleAfter)},
		{"rest for", int64(c.RestFor)},
		{"takeover every", int64(c.TakeoverEvery)},
		{"blind after", int64(c.BlindAfter)},
	} {
		if n.value < 0 {
			fail("%s is negative", n.name)
		}
	}
	if c.MaxContentBytes > persistence.MaxPayloadBytes/2 {
		fail("max content bytes %d is above %d", c.MaxContentBytes, persistence.MaxPayloadBytes/2)
	}
	if c.APIListen != "" {
		problems = append(problems, c.api().Check())
	}
	if c.FencedMax < c.FencedMin {
		fail("fenced max %s is below fenced min %s", c.FencedMax, c.FencedMin)
	}
	return errors.Join(problems...)
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
