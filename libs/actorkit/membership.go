package actorkit

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// MembershipPatience is how long a node may see fewer members than there are before it gives up.
	MembershipPatience = 60 * time.Second
	// membershipEvery is the period of looking, and membersTimeout bounds asking GoAkt.
	membershipEvery = 5 * time.Second
	membersTimeout  = 2 * time.Second
)

// StrayedError says that this node's cluster and that of most others went separate ways, although they reach each other. No
// promise depends on GoAkt's view of its members, but operators do, and only another start brings them together.
type StrayedError struct {
	// Missing are the discovery addresses of nodes that answer and are no members, Members those that are.
	Missing, Members []string
	For              time.Duration
}

func (e *StrayedError) Error() string {
	return fmt.Sprintf("for %s this node has been in a cluster of %d (%s), apart from %s: exiting to join them with the next start",
		e.For.Round(time.Second), len(e.Members), strings.Join(e.Members, " "), strings.Join(e.Missing, " "))
}

// Members returns the discovery addresses of the cluster's members as GoAkt sees them, this node's included, in order.
func (n *Node) Members(ctx context.Context) ([]string, error) {
	peers, err := n.sys.Peers(ctx, membersTimeout)
	if err != nil {
		return nil, fmt.Errorf("members of the cluster: %w", err)
	}
	members := []string{n.DiscoveryAddr()}
	for _, p := range peers {
		members = append(members, net.JoinHostPort(p.Host, strconv.Itoa(p.DiscoveryPort)))
	}
	slices.Sort(members)
	return slices.Compact(members), nil
}

// Watch returns when the node is of no use any more and should be started anew: ErrDeaf, or a *StrayedError once this node has, for patience, been on the smaller side of a cluster that fell
// apart and does not come together by itself; nil when ctx ends. listed returns the hosts of the service's nodes in the
// directory, and false while the directory is not to be trusted.
func (n *Node) Watch(ctx context.Context, patience time.Duration, listed func() (hosts []string, fresh bool)) error {
	var since time.Time
	ticker := time.NewTicker(min(membershipEvery, patience/4))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.deaf:
			return ErrDeaf
		case <-ticker.C:
		}
		members, missing := n.compare(ctx, listed)
		switch {
		case ctx.Err() != nil:
			return nil
		case len(missing) == 0:
			since = time.Time{}
			continue
		case since.IsZero():
			since = time.Now()
			n.cfg.Logger.Warn("nodes that answer are not in the cluster", slog.Any("missing", missing), slog.Any("members", members))
		}
		if strayed := time.Since(since); strayed >= patience && outnumbered(n.DiscoveryAddr(), members, missing) {
			return &StrayedError{Missing: missing, Members: members, For: strayed}
		}
	}
}

// compare returns the members, and the nodes that should be: those that the directory lists and that answer. Those that do not
// answer are no reason to act, since another start would not reach them either.
func (n *Node) compare(ctx context.Context, listed func() ([]string, bool)) (members, missing []string) {
	hosts, fresh := listed()
	if !fresh {
		return nil, nil
	}
	members, err := n.Members(ctx)
	if err != nil {
		return nil, nil
	}
	answering, err := n.provider.look()
	if err != nil {
		return members, nil
	}
	for _, addr := range answering {
		host, _, err := net.SplitHostPort(addr)
		if err == nil && slices.Contains(hosts, host) && !slices.Contains(members, addr) {
			missing = append(missing, addr)
		}
	}
	return members, missing
}

// outnumbered says whether this node is the one to go: its side is not the larger one, and does not have the node of the lowest
// address, which always stays so that not all go.
func outnumbered(self string, members, missing []string) bool {
	if len(missing) == 0 || len(members) > len(missing) {
		return false
	}
	lowest := self
	for _, addr := range slices.Concat(members, missing) {
		lowest = min(lowest, addr)
	}
	return lowest != self && !slices.Contains(members, lowest)
}
