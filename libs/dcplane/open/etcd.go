package open

import (
	"errors"
	"net"
	"strings"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/etcd"
)

type etcdTarget struct{ config etcd.Config }

func (p etcdTarget) open(opts Options) (dcplane.Directory, error) {
	c := p.config
	c.Lease, c.RefreshEvery, c.MaxCacheStaleness = opts.Lease, opts.RefreshEvery, opts.MaxCacheStaleness
	c.Logger, c.MeterProvider = opts.Logger, opts.MeterProvider
	return etcd.Open(c)
}

const etcdPort = "2379"

func etcdPlane(a address) (plane, []error) {
	problems := a.unknown(tlsParameters...)
	c := etcd.Config{Username: a.user, Password: a.password}
	if a.user != "" && !a.hasPassword {
		problems = append(problems, errors.New("a user needs a password: write user:password@"))
	}
	if a.scheme == "etcds" {
		config, more := a.tlsConfig()
		c.TLS, problems = config, append(problems, more...)
	} else {
		problems = append(problems, a.withoutTLS("etcds")...)
	}
	if path := strings.TrimSuffix(a.path, "/"); path != "" {
		c.Prefix = path + "/"
	}
	if len(problems) > 0 || len(a.hosts) == 0 {
		return nil, problems
	}
	for _, host := range a.hosts {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), etcdPort)
		}
		c.Endpoints = append(c.Endpoints, host)
	}
	if err := c.Validate(); err != nil {
		return nil, []error{err}
	}
	return etcdTarget{c}, nil
}
