package open

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/nats"
)

type natsTarget struct{ config nats.Config }

func (p natsTarget) open(opts Options) (dcplane.Directory, error) {
	c := p.config
	c.Lease, c.RefreshEvery, c.MaxCacheStaleness = opts.Lease, opts.RefreshEvery, opts.MaxCacheStaleness
	c.Logger, c.MeterProvider = opts.Logger, opts.MeterProvider
	return nats.Open(c)
}

// NATS returns what a client needs to use the NATS servers of a control plane URL for something else: their addresses without
// passwords, separated by commas, and options with credentials and TLS. Errors as Check's, and for a URL of another kind.
func NATS(url string) (servers string, options []natsio.Option, err error) {
	p, err := parse(url)
	if err != nil {
		return "", nil, err
	}
	target, ok := p.(natsTarget)
	if !ok {
		return "", nil, fmt.Errorf("%w: it is not of NATS, want nats:// or tls://", ErrInvalid)
	}
	return target.config.URL, target.config.Options, nil
}

// natsPlane keeps user, password and token out of the URL it hands on, and so out of whatever is made of that.
func natsPlane(a address) (plane, []error) {
	problems := a.unknown(slices.Concat(tlsParameters, []string{"creds", "nkey", "bucket", "replicas"})...)
	if a.path != "" && a.path != "/" {
		problems = append(problems, fmt.Errorf("%s:// takes no path: a bucket is named with ?bucket=name", a.scheme))
	}
	c := nats.Config{Bucket: a.parameters["bucket"]}
	if a.scheme == "tls" {
		config, more := a.tlsConfig()
		problems = append(problems, more...)
		c.Options = append(c.Options, natsio.Secure(config))
	} else {
		problems = append(problems, a.withoutTLS("tls")...)
	}
	login, more := natsLogin(a)
	c.Options, problems = append(c.Options, login...), append(problems, more...)
	if text := a.parameters["replicas"]; text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 5 {
			problems = append(problems, errors.New("parameter replicas is not a number in 1–5"))
		} else {
			c.Replicas = n
		}
	}
	if len(problems) > 0 || len(a.hosts) == 0 {
		return nil, problems
	}
	servers := make([]string, len(a.hosts))
	for i, host := range a.hosts {
		servers[i] = a.scheme + "://" + host
	}
	c.URL = strings.Join(servers, ",")
	if err := c.Validate(); err != nil {
		return nil, []error{err}
	}
	return natsTarget{c}, nil
}

// natsLogin is how the client says who it is, in one way at most.
func natsLogin(a address) (options []natsio.Option, problems []error) {
	ways := 0
	switch {
	case a.hasPassword:
		ways++
		options = append(options, natsio.UserInfo(a.user, a.password))
	case a.user != "":
		ways++
		options = append(options, natsio.Token(a.user))
	}
	if file := a.parameters["creds"]; file != "" {
		ways++
		if err := checkCredentials(file); err != nil {
			problems = append(problems, fmt.Errorf("parameter creds: %w", err))
		}
		options = append(options, natsio.UserCredentials(file))
	}
	if file := a.parameters["nkey"]; file != "" {
		ways++
		option, err := natsio.NkeyOptionFromSeed(file)
		if err != nil {
			problems = append(problems, fmt.Errorf("parameter nkey: %s: %w", file, err))
		}
		options = append(options, option)
	}
	if ways > 1 {
		problems = append(problems, errors.New("give one of user and password, token, parameter creds and parameter nkey, not several"))
	}
	return options, problems
}

// checkCredentials says at the start what would otherwise be said for ever at each attempt to connect.
func checkCredentials(file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if _, err := nkeys.ParseDecoratedJWT(content); err != nil {
		return fmt.Errorf("%s has no user JWT: %w", file, err)
	}
	if _, err := nkeys.ParseDecoratedUserNKey(content); err != nil {
		return fmt.Errorf("%s has no user key: %w", file, err)
	}
	return nil
}
