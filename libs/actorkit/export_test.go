package actorkit

import (
	"context"
	"time"
)

// StartAlone is for tests that start systems with remoting beside StartNode.
var StartAlone = startAlone

// Members returns the addresses (Host and RemotingPort only) of the other nodes that GoAkt's cluster knows.
func (n *Node) Members(ctx context.Context) ([]Peer, error) {
	peers, err := n.sys.Peers(ctx, time.Second)
	members := make([]Peer, len(peers))
	for i, p := range peers {
		members[i] = Peer{Host: p.Host, RemotingPort: p.RemotingPort}
	}
	return members, err
}
