package actorkit_test

import (
	"context"
	"crypto/tls"
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tochemey/goakt/v4/actor"
	gerrors "github.com/tochemey/goakt/v4/errors"
	"github.com/tochemey/goakt/v4/remote"
	gtls "github.com/tochemey/goakt/v4/tls"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
	linkv1 "github.com/parley-rt/parley/libs/protocol/link/v1"
)

// More of what contract_test.go pins: remoting, the cluster and TLS.

// Worked around by StartNode, which starts with a context that does not end: remoting dies with the one it was started with. If
// this fails, context.WithoutCancel in trySystem may go.
func TestGoAktRemotingEndsWithTheContextOfStart(t *testing.T) {
	t.Parallel()
	port, err := actorkit.FreePort("127.0.0.1")
	require.NoError(t, err)
	sys, err := actor.NewActorSystem("mortal", actor.WithRemote(remote.NewConfig("127.0.0.1", port)), actor.WithLoggingDisabled())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	require.NoError(t, actorkit.StartAlone(func() error { return sys.Start(ctx) }))
	t.Cleanup(func() { _ = sys.Stop(context.Background()) })
	spawn(t, sys, "echo", &scripted{receive: func(rctx *actor.ReceiveContext) { rctx.Response(&linkv1.BatchReply{}) }})
	near, _, _ := startRemote(t, "near")
	pid, err := near.NoSender().RemoteLookup(t.Context(), "127.0.0.1", port, "echo")
	require.NoError(t, err)
	_, err = near.NoSender().Ask(t.Context(), pid, &linkv1.Batch{}, time.Second)
	require.NoError(t, err)
	cancel()
	require.Eventually(t, func() bool {
		_, err := near.NoSender().Ask(t.Context(), pid, &linkv1.Batch{}, time.Second)
		return err != nil
	}, 5*time.Second, 10*time.Millisecond)
}

// Worked around by reserve: two systems may be given the same remoting port, and each then gets half of the connections. If this
// fails, the socket that StartNode holds may go.
func TestGoAktSharesItsRemotingPort(t *testing.T) {
	t.Parallel()
	_, host, port := startRemote(t, "one")
	two, err := actor.NewActorSystem("two", actor.WithRemote(remote.NewConfig(host, port)), actor.WithLoggingDisabled())
	require.NoError(t, err)
	require.NoError(t, actorkit.StartAlone(func() error { return two.Start(context.Background()) }))
	require.NoError(t, two.Stop(context.Background()))
}

// Worked around by NodeConfig.Host being an IPv4 address that is bound, and by the check of PARLEY_ADVERTISE_HOST: a node answers
// only who calls it by the address that it has bound, so nothing may translate addresses on the way. If this fails, NAT and names
// may be allowed.
func TestGoAktAnswersOnlyToItsBoundAddress(t *testing.T) {
	t.Parallel()
	_, _, port := startRemote(t, "bound")
	near, _, _ := startRemote(t, "near")
	forward, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = forward.Close() }()
	go relay(forward, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	_, err = near.NoSender().RemoteLookup(t.Context(), "127.0.0.1", forward.Addr().(*net.TCPAddr).Port, "p")
	require.ErrorContains(t, err, gerrors.ErrInvalidHost.Error())
}

// relay carries connections to addr until the listener is closed.
func relay(l net.Listener, addr string) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", addr)
		if err != nil {
			_ = in.Close()
			continue
		}
		done := make(chan struct{}, 2)
		go func() { copyUntilEnd(out, in); done <- struct{}{} }()
		go func() { copyUntilEnd(in, out); done <- struct{}{} }()
		go func() {
			<-done
			_, _ = in.Close(), out.Close()
		}()
	}
}

func copyUntilEnd(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// Worked around by TLSFiles.Load, which checks chains itself: GoAkt's client does not say whom it calls, so that the standard
// checks refuse to begin. If this fails, drop InsecureSkipVerify, and ask for the advertised address in certificates.
func TestGoAktDoesNotNameTheServerItCalls(t *testing.T) {
	t.Parallel()
	ca := actorkittest.NewCA(t)
	ours, err := ca.Issue([]string{"127.0.0.1"}).Load()
	require.NoError(t, err)
	n := actorkittest.StartNode(t, "named", new(actorkittest.Recorder), func(c *actorkit.NodeConfig) { c.TLS = ours })
	standard := ours.Clone()
	standard.InsecureSkipVerify, standard.VerifyConnection = false, nil
	stranger := startStranger(t, &gtls.Info{ClientConfig: standard, ServerConfig: standard})
	_, err = stranger.NoSender().RemoteLookup(t.Context(), n.Self().Host, n.Self().RemotingPort, "GoAktUserGuardian/door-named")
	require.ErrorContains(t, err, "either ServerName or InsecureSkipVerify")
}

// Worked around by giving both ends one configuration: the gossip listens with what was meant for clients. If this fails, the
// configurations may differ; TestTLSRefusesStrangers tells whether they are safe.
func TestGoAktGossipListensWithTheClientsTLS(t *testing.T) {
	t.Parallel()
	ca := actorkittest.NewCA(t)
	open, err := ca.Issue([]string{"127.0.0.1"}).Load()
	require.NoError(t, err)
	open.ClientAuth, open.VerifyConnection = tls.NoClientCert, nil
	nobody := open.Clone()
	nobody.GetClientCertificate = nil
	n := actorkittest.StartNode(t, "open", new(actorkittest.Recorder), func(c *actorkit.NodeConfig) { c.TLS = open })
	require.NoError(t, handshake(t, n.DiscoveryAddr(), nobody), "the port asks for no certificate because the client's part does not")
}

// Relied on for CLUSTER_QUORUM: nodes that lost each other, here by one of them hanging for longer than gossip waits, are one
// cluster again by themselves when the quorum is more than one. If this fails, Watch restarts the smaller side after a minute.
func TestGoAktRejoinsAfterAMinorityWasCutOff(t *testing.T) {
	t.Parallel()
	port := samePort(t)
	var seeds []string
	for _, host := range hosts {
		seeds = append(seeds, net.JoinHostPort(host, strconv.Itoa(port)))
	}
	var nodes []*process
	for i := range hosts {
		nodes = append(nodes, startProcess(t, processConfig{
			System: "rejoin", Node: "rejoin" + strconv.Itoa(i), Host: hosts[i], Port: port, Seeds: seeds, Quorum: 2, Dir: t.TempDir(),
		}))
	}
	all := "members: " + seeds[0] + " " + seeds[1] + " " + seeds[2]
	for _, n := range nodes {
		n.expect(t, all)
	}
	require.NoError(t, syscall.Kill(nodes[2].pid, syscall.SIGSTOP))
	for _, n := range nodes[:2] {
		n.expect(t, "members: "+seeds[0]+" "+seeds[1])
	}
	require.NoError(t, syscall.Kill(nodes[2].pid, syscall.SIGCONT))
	for _, n := range nodes[:2] {
		n.expect(t, all)
	}
}

// Relied on by the Links, which no promise of the cluster's carries: a node that is alone below its quorum still talks to the
// peers that it is told of, and is talked to. If this fails, a minority of rooms nodes serves nobody, and quorums must be 1.
func TestGoAktRemotingWorksBelowTheQuorum(t *testing.T) {
	t.Parallel()
	port := samePort(t)
	seeds := []string{net.JoinHostPort(hosts[0], strconv.Itoa(port)), net.JoinHostPort(hosts[1], strconv.Itoa(port))}
	var nodes []*process
	for i := range seeds {
		nodes = append(nodes, startProcess(t, processConfig{
			System: "below", Node: "below" + strconv.Itoa(i), Host: hosts[i], Port: port, Seeds: seeds, Quorum: 2, Dir: t.TempDir(),
		}))
	}
	for _, n := range nodes {
		n.expect(t, "members: "+seeds[0]+" "+seeds[1])
	}
	remoting := nodes[0].remoting
	require.NoError(t, syscall.Kill(nodes[1].pid, syscall.SIGKILL))
	nodes[0].expect(t, "members: "+seeds[0])

	r := new(actorkittest.Recorder)
	other := actorkittest.StartNode(t, "other", r)
	self := actorkit.Peer{Node: "below0", Incarnation: nodes[0].incarnation, Host: hosts[0], RemotingPort: remoting}
	other.SetPeers([]actorkit.Peer{self})
	actorkittest.WaitUp(t, other, "below0")
	require.NoError(t, other.Send("below0", actorkit.Frame{Body: []byte("x")}))
	nodes[0].expect(t, "frame: x")
}

// Relied on by the Links' bound of a frame: what is below it fits into one message of GoAkt's remoting.
func TestGoAktCarriesTheLargestFrame(t *testing.T) {
	t.Parallel()
	far, host, port := startRemote(t, "far")
	spawn(t, far, "size", &scripted{receive: func(rctx *actor.ReceiveContext) {
		rctx.Response(&linkv1.Batch{Number: uint64(len(rctx.Message().(*linkv1.Batch).GetFrames()[0].GetBody()))})
	}})
	near, _, _ := startRemote(t, "near")
	pid, err := near.NoSender().RemoteLookup(t.Context(), host, port, "size")
	require.NoError(t, err)
	got, err := near.NoSender().Ask(t.Context(), pid, &linkv1.Batch{Frames: []*linkv1.Frame{{Body: make([]byte, actorkit.MaxFrameBytes)}}}, actorkittest.Patience)
	require.NoError(t, err)
	require.EqualValues(t, actorkit.MaxFrameBytes, got.(*linkv1.Batch).GetNumber())
}
