package actorkit

import (
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// SetPeers makes Links to exactly these peers, this node itself excepted. A changed incarnation or address replaces the
// Link; one that is not named any more is closed. Both drop what was queued, with a LinkDown if the Link was up. Peers
// without node, incarnation or address are passed over with a warning. After Stop it does nothing.
func (n *Node) SetPeers(peers []Peer) {
	if n.stopping.Load() {
		return
	}
	n.setPeers(peers, nil)
}

// setPeers replaces the Links. why overrides the reason given for closing.
func (n *Node) setPeers(peers []Peer, why error) {
	n.peersMu.Lock()
	defer n.peersMu.Unlock()
	if why == nil && n.stopping.Load() {
		return
	}
	now := time.Now()
	old := *n.links.Load()
	links := make(map[string]*link, len(peers))
	var fresh []Peer
	for _, p := range peers {
		switch {
		case p.Node == n.self.Node:
		case p.Node == "" || len(p.Node) > maxIDBytes || p.Incarnation == "" || p.Host == "" || p.RemotingPort <= 0:
			n.cfg.Logger.Warn("peer passed over", slog.String("peer", p.Node), slog.String("reason", "incomplete"))
		case old[p.Node] != nil && old[p.Node].peer == p:
			links[p.Node] = old[p.Node]
		default:
			fresh = append(fresh, p)
		}
	}
	for name, l := range old {
		if links[name] != nil {
			continue
		}
		reason := why
		if reason == nil {
			reason = fmt.Errorf("%w any more", ErrUnknownPeer)
		}
		n.floor = max(n.floor, l.close(reason))
	}
	for _, p := range fresh {
		l := newLink(n, p, n.floor, now)
		links[p.Node] = l
		n.loops.Add(1)
		go l.run(0)
		l.cue()
	}
	n.links.Store(&links)
}

// tickLinks is the goroutine that keeps the time of all Links.
func (n *Node) tickLinks() {
	defer n.loops.Done()
	t := time.NewTicker(max(n.cfg.Heartbeat/10, time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case now := <-t.C:
			for _, l := range *n.links.Load() {
				l.tick(now)
			}
		}
	}
}

// KeepLiving returns the listed peers and, besides, those that have a Link which is up and whose names are not listed. Given
// to SetPeers that keeps Links to peers that left the directory and still answer.
func (n *Node) KeepLiving(listed []Peer) []Peer {
	named := make(map[string]struct{}, len(listed))
	for _, p := range listed {
		named[p.Node] = struct{}{}
	}
	peers := slices.Clone(listed)
	for name, l := range *n.links.Load() {
		if _, ok := named[name]; !ok && l.status().Up {
			peers = append(peers, l.peer)
		}
	}
	return peers
}
