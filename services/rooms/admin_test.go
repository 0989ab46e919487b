package rooms

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/memory"
	"github.com/parley-rt/parley/libs/opskit/auth"
	"github.com/parley-rt/parley/libs/persistence"
	journalmemory "github.com/parley-rt/parley/libs/persistence/memory"
	"github.com/parley-rt/parley/libs/persistence/persistencetest"
	adminv1 "github.com/parley-rt/parley/libs/protocol/admin/v1"
	"github.com/parley-rt/parley/libs/protocol/admin/v1/adminv1connect"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/names"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

func withAPI(c *Config) {
	c.APIListen, c.Auth = "127.0.0.1:0", auth.Config{Mode: auth.ModeNone}
}

// adminOf is an administrator who uses the API of that node.
func adminOf(t testing.TB, s *Service, options ...connect.ClientOption) adminv1connect.RoomServiceClient {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return adminv1connect.NewRoomServiceClient(&http.Client{Transport: transport, Timeout: time.Minute}, "http://"+s.APIAddr(), options...)
}

// Any node's API reaches the writer of any room, and never takes a room from its owner.
func TestAdminReachesTheOwner(t *testing.T) {
	t.Parallel()
	plane, backend := memory.NewPlane(), journalmemory.New(journalmemory.Options{})
	var nodes []*Service
	for i := range 3 {
		nodes = append(nodes, startRooms(t, plane, backend, fmt.Sprintf("rooms-%d", i+1), withAPI))
	}
	for _, a := range nodes {
		for _, b := range nodes {
			if a != b {
				waitLinked(t, a, b.cfg.Node)
			}
		}
	}
	owners := map[string]int{}
	for i := range 12 {
		room := fmt.Sprint("room-", i)
		banned, err := adminOf(t, nodes[i%3]).Ban(t.Context(), &adminv1.BanRequest{RoomId: room, MemberId: "eve", Reason: "spam", Lasting: durationpb.New(time.Hour)})
		require.NoError(t, err)
		require.True(t, banned.GetChanged())
		require.EqualValues(t, 1, banned.GetSeq())
		require.WithinRange(t, banned.GetExpiresAt().AsTime(), time.Now().Add(59*time.Minute), time.Now().Add(61*time.Minute))
		var epoch uint64
		for _, n := range nodes {
			res, err := adminOf(t, n).GetRoom(t.Context(), &adminv1.GetRoomRequest{RoomId: room})
			require.NoError(t, err)
			got := res.GetRoom()
			require.EqualValues(t, 1, got.GetBans())
			require.EqualValues(t, 1, got.GetHead())
			require.Equal(t, adminv1.Level_LEVEL_ANYONE, got.GetSettings().GetJoin())
			require.NotEmpty(t, got.GetNode())
			if epoch == 0 {
				epoch = got.GetEpoch()
				owners[got.GetNode()]++
			}
			require.Equal(t, epoch, got.GetEpoch(), "the room stays where it is")
			bans, err := adminOf(t, n).ListBans(t.Context(), &adminv1.ListBansRequest{RoomId: room})
			require.NoError(t, err)
			require.Len(t, bans.GetBans(), 1)
			require.Equal(t, "eve", bans.GetBans()[0].GetMemberId())
			require.Equal(t, "anonymous", bans.GetBans()[0].GetActor())
			require.Equal(t, "spam", bans.GetBans()[0].GetReason())
		}
	}
	require.Greater(t, len(owners), 1, "rooms are spread: %v", owners)
}

// The node that is asked first may not be the owner: it sends the question on with Moved.
func TestAdminFollowsMoved(t *testing.T) {
	t.Parallel()
	plane, backend := memory.NewPlane(), journalmemory.New(journalmemory.Options{})
	one := startRooms(t, plane, backend, "rooms-1", withAPI)
	// Rooms that rendezvous would give to rooms-2 begin on rooms-1, which is alone.
	room := ""
	for i := 0; room == ""; i++ {
		id := fmt.Sprint("room-", i)
		if dcplane.Rank(id, []dcplane.Node{{DC: "dc-a", Service: ServiceName, Name: "rooms-1"}, {DC: "dc-a", Service: ServiceName, Name: "rooms-2"}})[0].Name == "rooms-2" {
			room = id
		}
	}
	_, err := adminOf(t, one).Invite(t.Context(), &adminv1.InviteRequest{RoomId: room, MemberId: "ada", Moderator: true})
	require.NoError(t, err)
	two := startRooms(t, plane, backend, "rooms-2", withAPI)
	three := startRooms(t, plane, backend, "rooms-3", withAPI)
	for _, s := range []*Service{two, three} {
		waitLinked(t, s, "rooms-1")
		waitLinked(t, one, s.cfg.Node)
	}
	for _, s := range []*Service{three, two, one} {
		res, err := adminOf(t, s).ListInvitations(t.Context(), &adminv1.ListInvitationsRequest{RoomId: room})
		require.NoError(t, err)
		require.Len(t, res.GetInvitations(), 1)
		require.True(t, res.GetInvitations()[0].GetModerator())
	}
}

// S3, L3: the owner dies when it has stored what it was told and nobody knows yet. The question goes to the next owner, which
// recognises it.
func TestOwnerDiesMidRequest(t *testing.T) {
	t.Parallel()
	plane, backend, plan := memory.NewPlane(), journalmemory.New(journalmemory.Options{}), persistencetest.NewPlan()
	owner := startRooms(t, plane, persistencetest.Faulty(backend, plan), "rooms-1", withAPI)
	_, err := adminOf(t, owner).Mute(t.Context(), &adminv1.MuteRequest{RoomId: "lobby", MemberId: "eve"})
	require.NoError(t, err)
	other := startRooms(t, plane, backend, "rooms-2", withAPI)
	waitLinked(t, other, "rooms-1")
	waitLinked(t, owner, "rooms-2")

	block, reached := make(chan struct{}), make(chan struct{})
	plan.Add(persistencetest.Fault{
		Op: persistencetest.OpAppend, Key: lobbyStream, Late: true, Block: block, Reached: func() { close(reached) },
	})
	type result struct {
		res *adminv1.BanResponse
		err error
	}
	banned := make(chan result, 1)
	ask := func(op string) result {
		res, err := adminOf(t, other).Ban(t.Context(), &adminv1.BanRequest{RoomId: "lobby", MemberId: "eve", OperationId: op})
		return result{res, err}
	}
	go func() { banned <- ask("op-1") }()
	<-reached
	require.NoError(t, owner.node.Stop(t.Context())) // the others lose it without a word
	got := <-banned
	require.NoError(t, got.err)
	require.EqualValues(t, 2, got.res.GetSeq())
	require.True(t, got.res.GetDuplicate(), "it was stored by the node that died")
	close(block)

	again := ask("op-1")
	require.NoError(t, again.err)
	require.True(t, again.res.GetDuplicate())
	require.EqualValues(t, 2, again.res.GetSeq())
	head, err := backend.Head(t.Context(), lobbyStream)
	require.NoError(t, err)
	require.EqualValues(t, 2, head.LastSeq, "carried out once")
	require.Equal(t, "rooms-2", head.Owner)
}

// A room that nobody can run now is answered for in time, with when to ask again; when the journal is back so is the API.
func TestAdminWhileTheJournalIsAway(t *testing.T) {
	t.Parallel()
	backend, plan := journalmemory.New(journalmemory.Options{}), persistencetest.NewPlan()
	s := startRooms(t, memory.NewPlane(), persistencetest.Faulty(backend, plan), "rooms-1", withAPI)
	admin := adminOf(t, s)
	_, err := admin.Mute(t.Context(), &adminv1.MuteRequest{RoomId: "lobby", MemberId: "eve"})
	require.NoError(t, err)

	plan.Add(persistencetest.Fault{Op: persistencetest.OpAppend, Key: lobbyStream, Times: 3, Err: persistence.ErrUnavailable})
	res, err := admin.Unmute(t.Context(), &adminv1.UnmuteRequest{RoomId: "lobby", MemberId: "eve"})
	require.NoError(t, err, "a short outage is not seen")
	require.True(t, res.GetChanged())

	plan.Add(persistencetest.Fault{Op: persistencetest.OpAppend, Key: lobbyStream, Times: -1, Err: persistence.ErrUnavailable})
	began := time.Now()
	_, err = admin.Mute(t.Context(), &adminv1.MuteRequest{RoomId: "lobby", MemberId: "eve"})
	require.Contains(t, []connect.Code{connect.CodeUnavailable, connect.CodeDeadlineExceeded}, connect.CodeOf(err), "%v", err)
	require.Less(t, time.Since(began), 15*time.Second)

	plan.Add(persistencetest.Fault{Op: persistencetest.OpHead, Key: lobbyStream, Err: persistence.ErrUnavailable})
	_, err = admin.GetRoom(t.Context(), &adminv1.GetRoomRequest{RoomId: "lobby"})
	require.Equal(t, connect.CodeUnavailable, connect.CodeOf(err), "%v", err)
	_, err = admin.GetRoom(t.Context(), &adminv1.GetRoomRequest{RoomId: "lobby"})
	require.NoError(t, err)
}

// S8: a ban through the API takes the member out at the gateways and keeps it out.
func TestBanThroughTheAPI(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, withAPI)
	admin := adminOf(t, b.rooms)
	b.gw.join("rooms-1", "lobby", "eve")
	b.gw.subscribe("rooms-1", "lobby")
	require.NoError(t, b.gw.send("rooms-1", &roomv1.Frame{RoomId: "lobby", Kind: &roomv1.Frame_Online{Online: &roomv1.Online{
		Full: true, Members: []*roomv1.Present{{MemberId: "eve", Connections: 1}},
	}}}))
	require.Eventually(t, func() bool {
		res, err := admin.ListMembers(t.Context(), &adminv1.ListMembersRequest{RoomId: "lobby"})
		return err == nil && len(res.GetMembers()) == 1 && res.GetMembers()[0].GetConnections() == 1
	}, patience, 10*time.Millisecond)

	banned, err := admin.Ban(t.Context(), &adminv1.BanRequest{RoomId: "lobby", MemberId: "eve", Reason: "spam"})
	require.NoError(t, err)
	b.gw.wait("eviction", func(frames []received) bool {
		for _, r := range frames {
			if e := r.frame.GetEvicted(); e != nil {
				return e.GetSeq() == banned.GetSeq() && e.GetMembers()[0].GetMemberId() == "eve"
			}
		}
		return false
	})
	refusedWith(t, b.gw.ask("rooms-1", "lobby", joinFrame("eve", "s-2", 1, nil)), clientv1.ErrorCode_ERROR_CODE_BANNED)
	unbanned, err := admin.Unban(t.Context(), &adminv1.UnbanRequest{RoomId: "lobby", MemberId: "eve"})
	require.NoError(t, err)
	require.True(t, unbanned.GetChanged())
	require.NotNil(t, b.gw.ask("rooms-1", "lobby", joinFrame("eve", "s-3", 1, nil)).GetJoined())
}

// S3: a server publishes without being in the room, even in the name of a member that is muted, and once.
func TestServerPublishes(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, withAPI)
	admin := adminOf(t, b.rooms)
	b.gw.subscribe("rooms-1", "lobby")
	_, err := admin.Mute(t.Context(), &adminv1.MuteRequest{RoomId: "lobby", MemberId: "bot"})
	require.NoError(t, err)
	publish := &adminv1.PublishRequest{RoomId: "lobby", Sender: "bot", Content: "maintenance at noon", MessageId: "m1"}
	first, err := admin.Publish(t.Context(), publish)
	require.NoError(t, err)
	require.False(t, first.GetDuplicate())
	second, err := admin.Publish(t.Context(), publish)
	require.NoError(t, err)
	require.True(t, second.GetDuplicate())
	require.Equal(t, first.GetSeq(), second.GetSeq())

	delivered := b.gw.delivered("lobby", 1)
	require.Equal(t, "maintenance at noon", delivered[0].GetContent())
	require.Equal(t, "bot", delivered[0].GetSender())
	page, err := admin.History(t.Context(), &adminv1.HistoryRequest{RoomId: "lobby", AfterSeq: proto.Uint64(0)})
	require.NoError(t, err)
	require.Len(t, page.GetMessages(), 1)
	require.Equal(t, first.GetSeq(), page.GetMessages()[0].GetSeq())
	require.Equal(t, "m1", page.GetMessages()[0].GetMessageId())
	require.NotNil(t, page.GetMessages()[0].GetSentAt())

	_, err = admin.Publish(t.Context(), &adminv1.PublishRequest{RoomId: "lobby", Sender: "bot", Content: string(make([]byte, 64<<10+1))})
	require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err), "%v", err)
	require.ErrorContains(t, err, "content: ")
}

// What a gateway sends in an administrator's place is not carried out.
func TestGatewaysDoNotAdminister(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, withAPI)
	publish := publishFrame("eve", "m1")
	publish.GetPublish().Unchecked = true
	ban := &roomv1.Frame{Kind: &roomv1.Frame_Administer{Administer: &roomv1.Administer{
		Actor: "eve", OperationId: "op", Command: &roomv1.Administer_Ban{Ban: &roomv1.BanMember{MemberId: "ada"}},
	}}}
	for _, frame := range []*roomv1.Frame{publish, ban} {
		frame.RoomId, frame.Connection, frame.Request = "lobby", 1, 99
		require.NoError(t, b.gw.send("rooms-1", frame))
	}
	// Frames of a Link come in order: when this one is answered those before it were handled.
	b.gw.join("rooms-1", "lobby", "ada")
	head, err := b.backend.Head(t.Context(), persistence.StreamKey(names.RoomStream("lobby")))
	require.NoError(t, err)
	require.Zero(t, head.LastSeq)
}

// Looking at a room that was never used neither begins it nor writes anything.
func TestUnusedRoomIsNotBegun(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, withAPI)
	_, err := adminOf(t, b.rooms).GetRoom(t.Context(), &adminv1.GetRoomRequest{RoomId: "lobby"})
	require.Equal(t, connect.CodeNotFound, connect.CodeOf(err))
	head, err := b.backend.Head(t.Context(), persistence.StreamKey(names.RoomStream("lobby")))
	require.NoError(t, err)
	require.Zero(t, head.Epoch)
}

// L5: a node that stops answers what was asked before, and its API is gone then.
func TestStopEndsTheAPI(t *testing.T) {
	t.Parallel()
	backend, plan := journalmemory.New(journalmemory.Options{}), persistencetest.NewPlan()
	s := startRooms(t, memory.NewPlane(), persistencetest.Faulty(backend, plan), "rooms-1", withAPI)
	admin := adminOf(t, s)
	block, reached := make(chan struct{}), make(chan struct{})
	plan.Add(persistencetest.Fault{Op: persistencetest.OpAppend, Key: lobbyStream, Block: block, Reached: func() { close(reached) }})
	done := make(chan error, 1)
	go func() {
		_, err := admin.Kick(context.WithoutCancel(t.Context()), &adminv1.KickRequest{RoomId: "lobby", MemberId: "eve"})
		done <- err
	}()
	<-reached
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(context.WithoutCancel(t.Context())) }()
	require.Eventually(t, func() bool {
		_, err := adminOf(t, s).GetRoom(t.Context(), &adminv1.GetRoomRequest{RoomId: "lobby"})
		return connect.CodeOf(err) == connect.CodeUnavailable
	}, patience, 10*time.Millisecond, "nothing new is taken")
	close(block)
	require.NoError(t, <-done)
	require.NoError(t, <-stopped)
}

// L5: while a node drains, administrators of its rooms see no error, and what they ask for is done once.
func TestAdminWhileANodeDrains(t *testing.T) {
	t.Parallel()
	plane, backend := memory.NewPlane(), journalmemory.New(journalmemory.Options{})
	one := startRooms(t, plane, backend, "rooms-1", withAPI)
	two := startRooms(t, plane, backend, "rooms-2", withAPI)
	waitLinked(t, one, "rooms-2")
	waitLinked(t, two, "rooms-1")
	admin := adminOf(t, one)
	const rooms = 16
	invite := func(room, n int) error {
		_, err := admin.Invite(t.Context(), &adminv1.InviteRequest{RoomId: fmt.Sprint("room-", room), MemberId: fmt.Sprint("m-", n)})
		return err
	}
	moved := 0
	for r := range rooms {
		require.NoError(t, invite(r, 0))
		res, err := admin.GetRoom(t.Context(), &adminv1.GetRoomRequest{RoomId: fmt.Sprint("room-", r)})
		require.NoError(t, err)
		if res.GetRoom().GetNode() == "rooms-2" {
			moved++
		}
	}
	require.Positive(t, moved)
	begun, done := make(chan struct{}), make(chan error, 1)
	var rounds atomic.Int64
	stop := make(chan struct{})
	go func() {
		done <- func() error {
			for n := 1; ; n++ {
				for r := range rooms {
					if err := invite(r, n); err != nil {
						return err
					}
				}
				rounds.Store(int64(n))
				if n == 1 {
					close(begun)
				}
				select {
				case <-stop:
					return nil
				default:
				}
			}
		}()
	}()
	<-begun
	stopRooms(t, two)
	close(stop)
	require.NoError(t, <-done)
	for r := range rooms {
		room := fmt.Sprint("room-", r)
		res, err := admin.GetRoom(t.Context(), &adminv1.GetRoomRequest{RoomId: room})
		require.NoError(t, err)
		require.Equal(t, "rooms-1", res.GetRoom().GetNode())
		require.EqualValues(t, rounds.Load()+1, res.GetRoom().GetInvitations())
		require.EqualValues(t, rounds.Load()+1, res.GetRoom().GetHead(), "each was carried out once")
	}
}

func TestAPISettingsAreChecked(t *testing.T) {
	t.Parallel()
	dir, err := memory.NewPlane().Open(t.Context(), memory.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dir.Close(context.Background())) })
	deps := Deps{Backend: journalmemory.New(journalmemory.Options{}), Directory: dir}
	_, err = New(Config{DC: "dc-a", Node: "rooms-1", APIListen: "nowhere"}, deps)
	require.ErrorIs(t, err, ErrInvalidConfig)
	require.ErrorContains(t, err, "PARLEY_API_LISTEN")
	require.ErrorContains(t, err, "PARLEY_AUTH_MODE")
	s, err := New(Config{DC: "dc-a", Node: "rooms-1"}, deps)
	require.NoError(t, err)
	require.Empty(t, s.APIAddr())
}
