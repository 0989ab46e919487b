package dcplane

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNodeValidate(t *testing.T) {
	t.Parallel()
	require.NoError(t, testNode("a").Validate())
	for want, spoil := range map[string]func(*Node){
		"service is empty":                         func(n *Node) { n.Service = "" },
		"dc is empty":                              func(n *Node) { n.DC = "" },
		"name has 129 bytes, the limit is 128":     func(n *Node) { n.Name = strings.Repeat("n", 129) },
		"incarnation is empty":                     func(n *Node) { n.Incarnation = "" },
		"host is empty":                            func(n *Node) { n.Host = "" },
		`region is not valid UTF-8: "\xff"`:        func(n *Node) { n.Region = "\xff" },
		"version has 200 bytes, the limit is 128":  func(n *Node) { n.Version = strings.Repeat("v", 200) },
		"remoting port 0 is not in 1–65535":        func(n *Node) { n.RemotingPort = 0 },
		`state "" is none of starting, ready, dra`: func(n *Node) { n.State = "" },
		"load NaN is not a finite number >= 0":     func(n *Node) { n.Load = math.NaN() },
		"load +Inf is not a finite number >= 0":    func(n *Node) { n.Load = math.Inf(1) },
	} {
		n := testNode("a")
		spoil(&n)
		err := n.Validate()
		require.ErrorIs(t, err, ErrInvalidNode)
		require.ErrorContains(t, err, want)
	}
}

func TestSupersededError(t *testing.T) {
	t.Parallel()
	err := &SupersededError{Key: testNode("a").Key(), Mine: "one", Theirs: "two"}
	require.ErrorIs(t, err, ErrSuperseded)
	require.NotErrorIs(t, err, ErrUnavailable)
	require.EqualError(t, err, "node dc-a/rooms/a: node registered by another process (incarnation two, ours was one)")
}
