package nats

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	natsio "github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/metric"

	"github.com/parley-rt/parley/libs/dcplane/internal/engine"
)

// DefaultBucket is the bucket's name unless Config says otherwise.
const DefaultBucket = "parley_nodes"

// backstopTTL is when the bucket drops records nobody renews. Far above any lease: expiry is not its business.
const backstopTTL = time.Minute

// Config says where the control plane is and how to use it. Exactly one of URL, Conn and InProcess is required.
type Config struct {
	// URL is one or several comma-separated server addresses: nats://[user:password@]host[:port] or tls://….
	URL string
	// Conn is an existing connection; it stays open when the directory closes.
	Conn *natsio.Conn
	// InProcess is a server in this process, for example an *embedded.Server.
	InProcess natsio.InProcessConnProvider
	// Options are added to the connection's own: credentials, TLS.
	Options []natsio.Option

	// Bucket is created when it is missing, with Replicas copies (default 1); an existing one is used as it is.
	Bucket   string
	Replicas int

	// Lease, RefreshEvery and MaxCacheStaleness default to those of package dcplane. All processes of a deployment should
	// use the same lease; at most 20 s.
	Lease, RefreshEvery, MaxCacheStaleness time.Duration

	Logger        *slog.Logger         // nil discards
	MeterProvider metric.MeterProvider // nil counts nothing
}

func (c Config) withDefaults() Config {
	if c.Bucket == "" {
		c.Bucket = DefaultBucket
	}
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) timing() engine.Timing {
	return engine.Timing{Lease: c.Lease, RefreshEvery: c.RefreshEvery, MaxStaleness: c.MaxCacheStaleness}.WithDefaults()
}

// Validate reports all problems of c at once. Passwords do not appear in the error.
func (c Config) Validate() error {
	c = c.withDefaults()
	var problems []error
	given := 0
	for _, set := range []bool{c.URL != "", c.Conn != nil, c.InProcess != nil} {
		if set {
			given++
		}
	}
	if given != 1 {
		problems = append(problems, fmt.Errorf("exactly one of URL, Conn and InProcess must be set, not %d", given))
	}
	if c.URL != "" {
		for server := range strings.SplitSeq(c.URL, ",") {
			if err := validateURL(strings.TrimSpace(server)); err != nil {
				problems = append(problems, err)
			}
		}
	}
	if strings.Trim(c.Bucket, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
		problems = append(problems, fmt.Errorf("bucket %q has characters other than letters, digits, _ and -", c.Bucket))
	}
	if c.Replicas < 1 || c.Replicas > 5 {
		problems = append(problems, fmt.Errorf("replicas %d is not in 1–5", c.Replicas))
	}
	timing := c.timing()
	if err := timing.Validate(); err != nil {
		problems = append(problems, err)
	}
	if timing.Lease > backstopTTL/3 {
		problems = append(problems, fmt.Errorf("lease %v is above %v", timing.Lease, backstopTTL/3))
	}
	return errors.Join(problems...)
}

// validateURL is stricter than the client, which takes almost anything for a host name and then dials it for ever.
func validateURL(server string) error {
	u, err := url.Parse(server)
	if err != nil {
		var parse *url.Error
		if errors.As(err, &parse) {
			err = parse.Err // without the text, which may hold a password
		}
		return fmt.Errorf("nats url: %w", err)
	}
	switch {
	case u.Scheme != "nats" && u.Scheme != "tls":
		return fmt.Errorf("nats url %q: scheme %q is neither nats nor tls", u.Redacted(), u.Scheme)
	case u.Hostname() == "":
		return fmt.Errorf("nats url %q has no host", u.Redacted())
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "":
		return fmt.Errorf("nats url %q has more than user, host and port", u.Redacted())
	}
	if _, port, err := net.SplitHostPort(u.Host); err == nil {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return fmt.Errorf("nats url %q: port %q is not in 1–65535", u.Redacted(), port)
		}
	}
	return nil
}
