package etcd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"

	"github.com/parley-rt/parley/libs/dcplane/internal/engine"
)

// DefaultPrefix is where the keys are unless Config says otherwise.
const DefaultPrefix = "/parley/"

// Config says where the control plane is and how to use it. Endpoints are required.
type Config struct {
	// Endpoints are host:port of one or several members of one cluster.
	Endpoints []string
	// TLS is how members are talked to; nil: without TLS.
	TLS *tls.Config
	// Username and Password are for clusters with authentication; both or neither. They do not appear in any error.
	Username, Password string

	// Prefix begins and ends with a slash. Deployments that share a cluster take different ones.
	Prefix string

	// Lease, RefreshEvery and MaxCacheStaleness default to those of package dcplane. All processes of a deployment should
	// use the same lease. etcd counts whole seconds and may have a minimum of its own (2 s by default): it rounds up.
	Lease, RefreshEvery, MaxCacheStaleness time.Duration

	// DialOptions are added to the connection's own.
	DialOptions []grpc.DialOption

	Logger        *slog.Logger         // nil discards
	MeterProvider metric.MeterProvider // nil counts nothing
}

func (c Config) withDefaults() Config {
	if c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) timing() engine.Timing {
	return engine.Timing{Lease: c.Lease, RefreshEvery: c.RefreshEvery, MaxStaleness: c.MaxCacheStaleness}.WithDefaults()
}

// Validate reports all problems of c at once.
func (c Config) Validate() error {
	c = c.withDefaults()
	var problems []error
	fail := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if len(c.Endpoints) == 0 {
		fail("no endpoint is given")
	}
	for _, endpoint := range c.Endpoints {
		host, port, err := net.SplitHostPort(endpoint)
		if err != nil || host == "" {
			fail("endpoint %q is not host:port", endpoint)
		} else if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			fail("endpoint %q: port %q is not in 1–65535", endpoint, port)
		}
	}
	if (c.Username == "") != (c.Password == "") {
		fail("of username and password only one is given")
	}
	if len(c.Prefix) < 2 || !strings.HasPrefix(c.Prefix, "/") || !strings.HasSuffix(c.Prefix, "/") || strings.Contains(c.Prefix, "//") {
		fail("prefix %q is not like /name/", c.Prefix)
	}
	if err := c.timing().Validate(); err != nil {
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// ttl is the lease in etcd's whole seconds.
func (c Config) ttl() int64 {
	return int64((c.timing().Lease + time.Second - 1) / time.Second)
}
