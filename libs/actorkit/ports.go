package actorkit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"syscall"
)

// Free ports are sought below the range from which systems give ports to outgoing connections, so that the only race left
// is with another process doing the same; StartNode tries again after losing it.
const (
	firstFreePort = 20_000
	freePorts     = 10_000
)

// freePort returns a port of host that nobody has bound for TCP or UDP (gossip uses both) and that is not in taken.
func freePort(host string, taken ...int) (int, error) {
	start := rand.IntN(freePorts)
next:
	for i := range freePorts {
		port := firstFreePort + (start+i)%freePorts
		for _, t := range taken {
			if t == port {
				continue next
			}
		}
		if portIsFree(host, port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port on %s from %d to %d", host, firstFreePort, firstFreePort+freePorts-1)
}

// reserve makes sure that nobody else has the node's ports, and keeps other nodes off the remoting port until the socket it
// returns is closed. GoAkt binds that port with SO_REUSEPORT: without this, a second node given the same port would start and get
// half of the connections. The socket is of UDP, which remoting does not use. The others are looked at here because a start that
// fails later spoils the process.
func reserve(cfg NodeConfig) (net.PacketConn, error) {
	for _, p := range []struct {
		name string
		port int
	}{{"remoting", cfg.RemotingPort}, {"discovery", cfg.DiscoveryPort}, {"peers", cfg.PeersPort}} {
		l, err := net.Listen("tcp", net.JoinHostPort(cfg.Host, strconv.Itoa(p.port)))
		if err == nil {
			err = l.Close()
		}
		if err != nil {
			return nil, fmt.Errorf("%s port: %w", p.name, err)
		}
	}
	gossip, err := net.ListenPacket("udp", net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.DiscoveryPort)))
	if err == nil {
		err = gossip.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("discovery port: %w", err)
	}
	held, err := net.ListenPacket("udp", net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.RemotingPort)))
	if err != nil {
		return nil, fmt.Errorf("remoting port: %w", err)
	}
	return held, nil
}

func portIsFree(host string, port int) bool {
	addr := net.JoinHostPort(host, strconv.Itoa(port))
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer func() { _ = l.Close() }()
	u, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	return u.Close() == nil
}

// fillPorts replaces the ports that are 0 by free ones and tells whether there were any.
func (c *NodeConfig) fillPorts() (bool, error) {
	filled := false
	for _, p := range []*int{&c.RemotingPort, &c.DiscoveryPort, &c.PeersPort} {
		if *p != 0 {
			continue
		}
		port, err := freePort(c.Host, c.RemotingPort, c.DiscoveryPort, c.PeersPort)
		if err != nil {
			return filled, err
		}
		*p, filled = port, true
	}
	return filled, nil
}

// isAddrInUse recognises a lost race for a port; the gossip library keeps only the text of the error.
func isAddrInUse(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || strings.Contains(err.Error(), "address already in use")
}
