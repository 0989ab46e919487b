package actorkit

import "context"

// StartAlone is for tests that start systems with remoting beside StartNode.
var StartAlone = startAlone

// FreePort returns a port that is free on host.
func FreePort(host string) (int, error) { return freePort(host) }

// Outnumbered is what decides who goes when a cluster has fallen apart.
var Outnumbered = outnumbered

// Alive says whether a node of a system answers at a discovery address.
func Alive(ctx context.Context, system, addr string) bool {
	return newProber(system, nil).alive(ctx, addr)
}
