package route

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/dcplane"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// links records where frames went and refuses where it is told to.
type links struct {
	sent   []string
	frames []actorkit.Frame
	refuse map[string]error
	blind  map[string]bool
}

func (l *links) Send(node string, f actorkit.Frame) error {
	if err := l.refuse[node]; err != nil {
		return err
	}
	l.sent = append(l.sent, node)
	l.frames = append(l.frames, f)
	return nil
}

func (l *links) Link(node string) (actorkit.LinkStatus, bool) {
	return actorkit.LinkStatus{Up: true, Blind: l.blind[node]}, true
}

func nodes(names ...string) []dcplane.Node {
	all := make([]dcplane.Node, len(names))
	for i, n := range names {
		all[i] = dcplane.Node{Service: "rooms", DC: "local", Name: n, State: dcplane.StateReady}
	}
	return all
}

func (l *links) to(t *testing.T, r *Router, avoid ...string) string {
	t.Helper()
	node, err := r.Send(&roomv1.Frame{RoomId: "room"}, actorkit.Frame{Traceparent: "tp"}, avoid)
	require.NoError(t, err)
	require.Equal(t, node, l.sent[len(l.sent)-1])
	require.Equal(t, "tp", l.frames[len(l.frames)-1].Traceparent)
	return node
}

func TestWhereAFrameGoes(t *testing.T) {
	t.Parallel()
	l := &links{refuse: map[string]error{}}
	r := NewRouter(l)
	_, err := r.Send(&roomv1.Frame{RoomId: "room"}, actorkit.Frame{}, nil)
	require.ErrorIs(t, err, ErrUnreachable)

	all := nodes("a", "b", "c")
	r.SetNodes(all)
	ranked := dcplane.Rank("room", all)
	first, second, third := ranked[0].Name, ranked[1].Name, ranked[2].Name
	require.Equal(t, first, l.to(t, r), "the best candidate")
	require.Equal(t, second, l.to(t, r, first), "the next one when that is to be avoided")

	r.SetOwner("room", third)
	require.Equal(t, third, l.to(t, r), "the owner before all candidates")
	require.Equal(t, first, l.to(t, r, third))
	r.SetOwner("room", "")
	require.Equal(t, third, l.to(t, r), "no owner told changes nothing")

	l.refuse[third] = actorkit.ErrLinkDown
	require.Equal(t, first, l.to(t, r), "a node that refuses is passed over")
	l.refuse[first], l.refuse[second] = actorkit.ErrLinkDown, actorkit.ErrUnknownPeer
	_, err = r.Send(&roomv1.Frame{RoomId: "room"}, actorkit.Frame{}, nil)
	require.ErrorIs(t, err, ErrUnreachable)
	delete(l.refuse, first)
	require.Equal(t, first, l.to(t, r, first), "better one to avoid than none")

	l.refuse[third] = actorkit.ErrLinkFull
	_, err = r.Send(&roomv1.Frame{RoomId: "room"}, actorkit.Frame{}, nil)
	require.ErrorIs(t, err, ErrBusy, "an owner that is behind is not replaced by another node")
	delete(l.refuse, third)

	r.SetNodes(nodes(first, second))
	require.False(t, r.Has(third))
	require.Equal(t, first, l.to(t, r), "an owner that is gone is not asked")
}

func TestDrainingNodesAreAskedLast(t *testing.T) {
	t.Parallel()
	l := &links{refuse: map[string]error{}}
	r := NewRouter(l)
	all := nodes("a", "b")
	best := dcplane.Rank("room", all)[0].Name
	for i := range all {
		if all[i].Name == best {
			all[i].State = dcplane.StateDraining
		}
	}
	r.SetNodes(all)
	require.NotEqual(t, best, l.to(t, r))
	r.SetOwner("room", best)
	require.Equal(t, best, l.to(t, r), "what it still runs it is asked for")
	for i := range all {
		all[i].State = dcplane.StateDraining
	}
	r.SetNodes(all)
	l.to(t, r)
}

// L3: who cannot ask the journal is not asked for rooms while somebody else can be.
func TestBlindNodesAreAskedLast(t *testing.T) {
	t.Parallel()
	l := &links{blind: map[string]bool{}, refuse: map[string]error{}}
	r := NewRouter(l)
	all := nodes("a", "b")
	r.SetNodes(all)
	ranked := dcplane.Rank("room", all)
	first, second := ranked[0].Name, ranked[1].Name
	l.blind[first] = true
	require.Equal(t, second, l.to(t, r))
	r.SetOwner("room", first)
	require.Equal(t, second, l.to(t, r), "what it runs is given to whoever is asked for it")
	l.blind[second] = true
	require.Equal(t, first, l.to(t, r), "all are blind: the owner first")
	l.blind[second] = false
	l.refuse[second] = actorkit.ErrLinkDown
	require.Equal(t, first, l.to(t, r), "better a blind one than none")
}

func TestBlind(t *testing.T) {
	t.Parallel()
	r := NewRouter(&links{blind: map[string]bool{"a": true}})
	require.True(t, r.Blind("a"))
	require.False(t, r.Blind("b"))
}

func TestOwnersForgetTheLeastRecentlyUsed(t *testing.T) {
	t.Parallel()
	o := newOwners(ownerShards * 4)
	for i := range 1000 {
		o.set(fmt.Sprint(i), "n")
		require.Equal(t, "n", o.get("0"), "what is used stays")
	}
	kept := 0
	for i := range 1000 {
		if o.get(fmt.Sprint(i)) != "" {
			kept++
		}
	}
	require.LessOrEqual(t, kept, ownerShards*4)
	require.GreaterOrEqual(t, kept, ownerShards)
	o.set("0", "m")
	require.Equal(t, "m", o.get("0"))
}

// told records what a Door hands on.
type told struct{ calls []string }

func (c *told) Answer(connection uint64, from string, _ actorkit.Frame) {
	c.calls = append(c.calls, fmt.Sprintf("answer %d from %s", connection, from))
}

func (c *told) Frame(hash uint32, from string, _ actorkit.Frame) {
	c.calls = append(c.calls, fmt.Sprintf("frame %v from %s", hash == Hash("room"), from))
}

func (c *told) HeadsDiffer(from string, rooms []string) {
	c.calls = append(c.calls, fmt.Sprintf("differ %v from %s", rooms, from))
}
func (c *told) LinkDown(node string) { c.calls = append(c.calls, "down "+node) }
func (c *told) LinkLost(node string) { c.calls = append(c.calls, "lost "+node) }

func TestDoor(t *testing.T) {
	t.Parallel()
	c := &told{}
	d := NewDoor(c, c, slog.New(slog.DiscardHandler))
	peer := actorkit.Peer{Node: "n"}
	hand := func(f *roomv1.Frame) {
		body, err := proto.Marshal(f)
		require.NoError(t, err)
		d.HandleFrame(peer, actorkit.Frame{Body: body})
	}
	hand(&roomv1.Frame{RoomId: "room", Connection: 7, Request: 3, Kind: &roomv1.Frame_Left{Left: &roomv1.Left{}}})
	hand(&roomv1.Frame{RoomId: "room", Kind: &roomv1.Frame_Deliver{Deliver: &roomv1.Deliver{Messages: []*roomv1.Message{{Content: "x"}}}}})
	hand(&roomv1.Frame{Kind: &roomv1.Frame_HeadsDiffer{HeadsDiffer: &roomv1.HeadsDiffer{RoomIds: []string{"a", "b"}}}})
	d.HandleFrame(peer, actorkit.Frame{Body: []byte{0xff}})
	d.HandleFrame(peer, actorkit.Frame{Body: []byte{0x0a, 0x7f, 'x'}})
	d.HandleLink(actorkit.LinkEvent{Peer: peer, Kind: actorkit.LinkUp})
	d.HandleLink(actorkit.LinkEvent{Peer: peer, Kind: actorkit.LinkDown})
	d.HandleLink(actorkit.LinkEvent{Peer: peer, Kind: actorkit.LinkLost})
	require.Equal(t, []string{
		"answer 7 from n", "frame true from n", "differ [a b] from n", "down n", "down n", "lost n", "lost n",
	}, c.calls)
}

// The address read without decoding is the one that decoding finds, for every frame that can be decoded.
func FuzzPeek(f *testing.F) {
	body, err := proto.Marshal(&roomv1.Frame{RoomId: "room", Connection: 9, Request: 4, Kind: &roomv1.Frame_Closed{Closed: &roomv1.Closed{Epoch: 3}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Fuzz(func(t *testing.T, data []byte) {
		a, ok := peek(data)
		var frame roomv1.Frame
		if proto.Unmarshal(data, &frame) != nil {
			return
		}
		require.True(t, ok)
		require.Equal(t, frame.GetRoomId(), string(a.room))
		require.Equal(t, frame.GetConnection(), a.connection)
	})
}
