package actorkittest

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/parley-rt/parley/libs/actorkit"
)

// StartNode starts a cluster of one node on loopback with free ports, in a directory of the test, and stops it with the
// test. edit may change the configuration.
func StartNode(t testing.TB, name string, h actorkit.Handler, edit ...func(*actorkit.NodeConfig)) *actorkit.Node {
	t.Helper()
	cfg := actorkit.NodeConfig{System: "test-" + name, Node: name, DataDir: t.TempDir()}
	for _, e := range edit {
		e(&cfg)
	}
	n, err := actorkit.StartNode(context.Background(), cfg, h)
	if err != nil {
		t.Fatalf("start node %s: %v", name, err)
	}
	t.Cleanup(func() { StopNode(t, n) })
	return n
}

// StopNode stops a node; a second time does nothing.
func StopNode(t testing.TB, n *actorkit.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		t.Errorf("stop node: %v", err)
	}
}

// Mesh makes all nodes peers of each other and waits until all Links are up.
func Mesh(t testing.TB, nodes ...*actorkit.Node) {
	t.Helper()
	peers := make([]actorkit.Peer, len(nodes))
	for i, n := range nodes {
		peers[i] = n.Self()
	}
	for _, n := range nodes {
		n.SetPeers(peers)
	}
	for _, n := range nodes {
		for _, p := range peers {
			if p.Node != n.Self().Node {
				WaitUp(t, n, p.Node)
			}
		}
	}
}

// WaitUp waits until the Link from n to the named node is up.
func WaitUp(t testing.TB, n *actorkit.Node, node string) {
	t.Helper()
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for {
		if s, ok := n.Link(node); ok && s.Up {
			return
		}
		select {
		case <-poll.C:
		case <-deadline.C:
			s, ok := n.Link(node)
			t.Fatalf("link from %s to %s not up within %v: %+v (known: %v)", n.Self().Node, node, Patience, s, ok)
		}
	}
}

// WaitMembers waits until each of the nodes sees all of them as members of its cluster, and nobody else.
func WaitMembers(t testing.TB, nodes ...*actorkit.Node) {
	t.Helper()
	var want []string
	for _, n := range nodes {
		want = append(want, n.DiscoveryAddr())
	}
	slices.Sort(want)
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for _, n := range nodes {
		for {
			members, err := n.Members(ctx)
			if err == nil && slices.Equal(members, want) {
				break
			}
			select {
			case <-poll.C:
			case <-ctx.Done():
				t.Fatalf("members of %s within %v: %v, %v; want %v", n.Self().Node, Patience, members, err, want)
			}
		}
	}
}

// Refusing returns the peer at an address where nobody listens: naming it in SetPeers cuts the Link, and naming the real
// one again heals it.
func Refusing(t testing.TB, p actorkit.Peer) actorkit.Peer {
	t.Helper()
	l := listen(t)
	p.Host, p.RemotingPort = split(l)
	if err := l.Close(); err != nil {
		t.Fatalf("close listener: %v", err)
	}
	return p
}

// Silent returns the peer at an address that takes connections and never answers, until the test ends.
func Silent(t testing.TB, p actorkit.Peer) actorkit.Peer {
	t.Helper()
	l := listen(t)
	p.Host, p.RemotingPort = split(l)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var conns []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			conns = append(conns, c)
		}
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return p
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	return l
}

func split(l net.Listener) (string, int) {
	a := l.Addr().(*net.TCPAddr)
	return a.IP.String(), a.Port
}
