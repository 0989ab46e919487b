// Package open opens a node directory by the URL of its control plane, so that services need no import of every backend.
//
//	nats://[user:password@]host[:4222][,host…][?parameters]       NATS with JetStream
//	tls://…                                                       the same over TLS
//	etcd://[user:password@]host[:2379][,host…][/prefix]           etcd v3
//	etcds://…[?parameters]                                        the same over TLS
//
// What comes before @ is for all hosts: a user and a password, or a NATS token alone. Special characters in it are
// percent-encoded (@ is %40, : is %3A, / is %2F). Servers may also be written nats://host1,nats://host2. Deployments that
// share etcd take different prefixes (/parley if there is none), those that share NATS different buckets.
//
//	parameter   of           value
//	ca          tls, etcds   PEM file of the authorities that may sign the server's certificate; else the system's
//	cert, key   tls, etcds   PEM files of the client's certificate; read again for every connection
//	creds       nats, tls    NATS credentials file (JWT and key); read again for every connection
//	nkey        nats, tls    NATS nkey seed file
//	bucket      nats, tls    the bucket's name
//	replicas    nats, tls    copies of a bucket that does not exist yet, 1–5
//
// No error of this package, and no log or error of a directory that it opened, contains a password or token of the URL;
// Redact makes a URL fit to be shown.
package open

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/parley-rt/parley/libs/dcplane"
)

// ErrInvalid is wrapped by what Open and Check return for a URL that cannot be used as it is.
var ErrInvalid = errors.New("invalid control plane URL")

// Options are those that all backends share; the zero value is right for production.
type Options struct {
	// Lease, RefreshEvery and MaxCacheStaleness default to those of package dcplane. All processes of a deployment should
	// use the same lease.
	Lease, RefreshEvery, MaxCacheStaleness time.Duration
	// Logger hears of changes and of trouble in the background. Nil: silence.
	Logger *slog.Logger
	// MeterProvider makes the instruments. Nil: none.
	MeterProvider metric.MeterProvider
}

// Open returns a directory on the control plane that url names, whether or not it can be reached now: the directory goes
// on trying until Close, becomes Ready once it has seen everything, and its Problem says what is in the way. Register
// waits for it. So processes may start before their control plane; who wants to wait for it calls dcplane.AwaitReady.
//
// It may take two seconds for each NATS server that does not answer, and fails only for a url that names no control plane or
// files that cannot be read; then the error wraps ErrInvalid and tells all problems, each with what to write instead.
func Open(url string, opts Options) (dcplane.Directory, error) {
	p, err := parse(url)
	if err != nil {
		return nil, err
	}
	return p.open(opts)
}

// OpenReady is Open for those who wait until the directory has seen everything. When ctx ends first the directory is closed, and
// the error wraps dcplane.ErrUnavailable and says what is in the way.
func OpenReady(ctx context.Context, url string, opts Options) (dcplane.Directory, error) {
	d, err := Open(url, opts)
	if err != nil {
		return nil, err
	}
	if err := dcplane.AwaitReady(ctx, d); err != nil {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("open control plane: %w", err), d.Close(closing))
	}
	return d, nil
}

// closeTimeout bounds the end of a directory that did not become ready.
const closeTimeout = 2 * time.Second

// Check reports all problems of a url that Open would, files included, without connecting to anything.
func Check(url string) error {
	_, err := parse(url)
	return err
}

// plane is a control plane that a URL was found to name.
type plane interface {
	open(opts Options) (dcplane.Directory, error)
}

// parse says which control plane a URL names, or everything that is wrong with it.
func parse(url string) (plane, error) {
	a, problems := parseAddress(url)
	var p plane
	if len(problems) == 0 || a.scheme != "" {
		var more []error
		p, more = planeOf(a)
		problems = append(problems, more...)
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, errors.Join(problems...))
	}
	return p, nil
}

const examples = "want nats://host:4222 or etcd://host1:2379,host2:2379"

// planeOf takes an address whose scheme is known to be one, for example of another system.
func planeOf(a address) (plane, []error) {
	switch a.scheme {
	case "nats", "tls":
		return natsPlane(a)
	case "etcd", "etcds":
		return etcdPlane(a)
	case "http", "https":
		return nil, []error{fmt.Errorf("scheme %s is not known: etcd is written etcd://host:2379, or etcds:// with TLS", a.scheme)}
	case "memory":
		return nil, []error{errors.New("memory is not a control plane that processes could share, " + examples)}
	default:
		return nil, []error{fmt.Errorf("scheme %q is not known, %s", a.scheme, examples)}
	}
}
