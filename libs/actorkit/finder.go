package actorkit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
)

// Finder finds the other nodes of a service, for a cluster to form. What it finds may be wrong: nodes that are gone, and this
// one. Methods may be called from any goroutine.
//
// GoAkt's own providers are not used: the one for Kubernetes sees only pods that are ready, which a node that waits for its
// peers never is; the one for NATS takes one server without credentials and gives up after five attempts; the one for DNS has
// no ports. And each would let a node form a cluster of its own when it starts a moment before the others.
type Finder interface {
	// Open makes self, host:discoveryPort, known to the others where that takes something. It is called once, and returns at once:
	// what is not there yet is waited for in the background.
	Open(self string) error
	// Find returns host:port of nodes. An error means that nobody knows; an empty answer is one.
	Find(ctx context.Context) ([]string, error)
	// Close ends what Open began.
	Close() error
}

// SeedFinder returns a Finder that looks the names among host:port up and takes addresses as they are. A name that many nodes
// share, such as that of a headless service, stands for all of them. resolver may be nil.
func SeedFinder(seeds []string, resolver *net.Resolver) Finder {
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	return &seedFinder{seeds: slices.Clone(seeds), resolver: resolver}
}

type seedFinder struct {
	seeds    []string
	resolver *net.Resolver
}

func (f *seedFinder) Open(string) error { return nil }

func (f *seedFinder) Close() error { return nil }

// Find fails only when not a single name could be looked up: nodes that are down may have none.
func (f *seedFinder) Find(ctx context.Context) ([]string, error) {
	var found []string
	var problems []error
	for _, seed := range f.seeds {
		host, port, err := net.SplitHostPort(seed)
		if err != nil {
			return nil, fmt.Errorf("seed %q: %w", seed, err)
		}
		addrs, err := f.resolver.LookupNetIP(ctx, "ip4", host)
		if err != nil {
			problems = append(problems, fmt.Errorf("look up seed %q: %w", seed, err))
			continue
		}
		for _, addr := range addrs {
			found = append(found, net.JoinHostPort(addr.Unmap().String(), port))
		}
	}
	if len(found) == 0 && len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return found, nil
}
