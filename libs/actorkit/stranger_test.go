package actorkit_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tochemey/goakt/v4/actor"
	"github.com/tochemey/goakt/v4/client"
	gerrors "github.com/tochemey/goakt/v4/errors"
	"github.com/tochemey/goakt/v4/remote"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
)

// invaded is a node with a peer, and a system of GoAkt that is no node and reaches its remoting port. There is no TLS.
type invaded struct {
	node, peer *actorkit.Node
	handler    *actorkittest.Recorder
	stranger   actor.ActorSystem
	door       *actor.PID
	actors     []string
}

func invade(t *testing.T, name string) *invaded {
	t.Helper()
	v := &invaded{handler: new(actorkittest.Recorder)}
	v.node = actorkittest.StartNode(t, name, v.handler)
	v.peer = actorkittest.StartNode(t, name+"-peer", new(actorkittest.Recorder))
	actorkittest.Mesh(t, v.node, v.peer)
	v.stranger = startStranger(t, nil)
	var err error
	v.door, err = v.stranger.NoSender().RemoteLookup(t.Context(), v.node.Self().Host, v.node.Self().RemotingPort, "GoAktUserGuardian/door-"+name)
	require.NoError(t, err)
	v.actors = v.node.Actors()
	require.Len(t, v.actors, 1, "nothing but the door: see link.run")
	return v
}

// unharmed says that the node runs what it ran before, and works.
func (v *invaded) unharmed(t *testing.T, what string) {
	t.Helper()
	require.Equal(t, v.actors, v.node.Actors(), what)
	before := len(v.handler.Frames())
	require.NoError(t, v.peer.Send(v.node.Self().Node, numbered(before)), what)
	v.handler.WaitFrames(t, before+1)
}

// names are what a stranger may call the actors of a node.
func (v *invaded) names() []string {
	self := v.node.Self().Node
	return []string{
		"door-" + self, "GoAktUserGuardian/door-" + self, "/GoAktUserGuardian/door-" + self, "GoAktUserGuardian",
		"GoAktSystemGuardian", "nobody", "",
	}
}

// Without TLS, whoever reaches a node's remoting port still cannot make it run an actor of his choice: the only kind that is
// registered is the door, of which a second one refuses to live. If this fails, look for what GoAkt registers by itself.
func TestStrangersCannotSpawn(t *testing.T) {
	t.Parallel()
	v := invade(t, "spawn")
	self := v.node.Self()
	kinds := []actor.Actor{&scripted{}, actorkit.NewDoor()}
	for i, kind := range kinds {
		what := fmt.Sprintf("spawn of %T", kind)
		_, err := v.stranger.Spawn(t.Context(), fmt.Sprintf("mine-%d", i), kind, actor.WithHostAndPort(self.Host, self.RemotingPort))
		require.Error(t, err, what)
		if i != 1 {
			require.ErrorContains(t, err, gerrors.ErrTypeNotRegistered.Error(), what)
		}
		v.unharmed(t, what)

		what = fmt.Sprintf("spawn of %T below the door", kind)
		_, err = v.door.SpawnChild(t.Context(), fmt.Sprintf("child-%d", i), kind)
		require.Error(t, err, what)
		v.unharmed(t, what)
	}
	for _, name := range v.names() {
		what := "respawn of " + name
		_, err := v.stranger.NoSender().RemoteReSpawn(t.Context(), self.Host, self.RemotingPort, name)
		require.Error(t, err, what)
		v.unharmed(t, what)
	}
	grains, err := client.New(t.Context(), []*client.Node{client.NewNode(net.JoinHostPort(self.Host, strconv.Itoa(self.RemotingPort)))})
	require.NoError(t, err)
	t.Cleanup(grains.Close)
	_, err = grains.AskGrain(t.Context(), &remote.GrainRequest{Name: "g", Kind: "actorkit.door"}, &structpb.Struct{}, time.Second)
	require.Error(t, err)
	v.unharmed(t, "activation of a grain")
}

// Nor can he stop, restart or confuse what runs by GoAkt's requests and messages of other types.
func TestStrangersCannotStopActorsByName(t *testing.T) {
	t.Parallel()
	v := invade(t, "stop")
	self := v.node.Self()
	for _, name := range v.names() {
		what := "stop of " + name
		_ = v.stranger.NoSender().RemoteStop(t.Context(), self.Host, self.RemotingPort, name) // nil also for a name that there is not
		v.unharmed(t, what)
	}
	for what, try := range map[string]func(context.Context) error{
		"shutdown":  v.door.Shutdown,
		"restart":   v.door.Restart,
		"reinstate": func(context.Context) error { return v.stranger.NoSender().Reinstate(v.door) },
	} {
		_ = try(t.Context()) // see above
		v.unharmed(t, what)
	}
	message, err := structpb.NewStruct(map[string]any{"do": "something"})
	require.NoError(t, err)
	require.NoError(t, v.stranger.NoSender().Tell(t.Context(), v.door, message))
	_, err = v.stranger.NoSender().Ask(t.Context(), v.door, message, 200*time.Millisecond)
	require.Error(t, err)
	v.unharmed(t, "messages of a type that the door does not know")
}

// What a stranger can do without TLS, beside speaking to the door like a node: one message stops any actor, also the door. The
// node notices, to be started anew. If GoAkt learns to refuse this, say so in docs/operations.md.
func TestStrangersCanStopTheDoor(t *testing.T) {
	t.Parallel()
	v := invade(t, "pill")
	watched := make(chan error, 1)
	go func() {
		watched <- v.node.Watch(t.Context(), actorkit.MembershipPatience, func() ([]string, bool) { return nil, false })
	}()
	require.NoError(t, v.stranger.NoSender().Tell(t.Context(), v.door, new(actor.PoisonPill)))
	require.ErrorIs(t, <-watched, actorkit.ErrDeaf)
	require.Eventually(t, func() bool {
		s, ok := v.peer.Link(v.node.Self().Node)
		return ok && s.Down
	}, waitFor, time.Millisecond, "its peers do not take it for alive")
}
