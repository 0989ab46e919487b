package scheduler

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/memory"
	"github.com/parley-rt/parley/libs/opskit/auth"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/protocol/admin/v1/adminv1connect"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// patience is how long a test waits for something that must come.
const patience = 20 * time.Second

// fakeRooms speaks room.proto over real Links as a rooms node does to schedulers: it takes any number above the last one of a
// schedule, and none twice. The real one is in another service, and met in the end-to-end tests.
type fakeRooms struct {
	t    testing.TB
	node *actorkit.Node

	mu   sync.Mutex
	last map[string]uint64
	got  map[string][]*roomv1.Publish // by room
	// behave, by room, is asked before a firing is taken and after: an answer in place of the room's own, or silence.
	refuse map[string]clientv1.ErrorCode
	mute   map[string]bool
	// deaf rooms take what they are sent and do not answer.
	deaf map[string]bool
	seen int
}

func startFakeRooms(t testing.TB, plane *memory.Plane) *fakeRooms {
	t.Helper()
	r := &fakeRooms{
		t: t, last: map[string]uint64{}, got: map[string][]*roomv1.Publish{},
		refuse: map[string]clientv1.ErrorCode{}, mute: map[string]bool{}, deaf: map[string]bool{},
	}
	r.node = actorkittest.StartNode(t, "rooms-1", r, func(c *actorkit.NodeConfig) { c.Service = roomsService })
	dir, err := plane.Open(context.Background(), memory.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dir.Close(context.Background())) })
	self := r.node.Self()
	_, err = dir.Register(context.Background(), dcplane.Node{
		Service: roomsService, DC: "dc-a", Name: "rooms-1", Incarnation: self.Incarnation,
		Host: self.Host, RemotingPort: self.RemotingPort, State: dcplane.StateReady,
	})
	require.NoError(t, err)
	return r
}

// meet has the rooms node know its schedulers.
func (r *fakeRooms) meet(services ...*Service) {
	var peers []actorkit.Peer
	for _, s := range services {
		peers = append(peers, s.node.Self())
	}
	r.node.SetPeers(peers)
	for _, s := range services {
		actorkittest.WaitUp(r.t, r.node, s.cfg.Node)
	}
}

// HandleFrame implements actorkit.Handler.
func (r *fakeRooms) HandleFrame(from actorkit.Peer, f actorkit.Frame) {
	frame := new(roomv1.Frame)
	if err := proto.Unmarshal(f.Body, frame); err != nil {
		r.t.Errorf("frame of %s: %v", from.Node, err)
		return
	}
	answer := r.take(frame)
	if answer == nil {
		return
	}
	answer.RoomId, answer.Connection, answer.Request = frame.RoomId, frame.Connection, frame.Request
	body, err := proto.Marshal(answer)
	if err != nil {
		r.t.Errorf("encode: %v", err)
		return
	}
	_ = r.node.Send(from.Node, actorkit.Frame{Body: body}) // a scheduler that is gone asks again
}

func (r *fakeRooms) take(frame *roomv1.Frame) *roomv1.Frame {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen++
	p := frame.GetPublish()
	outcome := func(o *roomv1.Outcome) *roomv1.Frame {
		if r.deaf[frame.RoomId] {
			return nil
		}
		return &roomv1.Frame{Kind: &roomv1.Frame_Published{Published: &roomv1.Published{Outcomes: []*roomv1.Outcome{o}}}}
	}
	switch code := r.refuse[frame.RoomId]; {
	case p.GetFiring() == nil || len(p.Drafts) != 1:
		r.t.Errorf("not a firing: %v", frame)
		return nil
	case r.mute[frame.RoomId]:
		return nil
	case p.Firing.Number <= r.last[p.Firing.ScheduleId]:
		return outcome(&roomv1.Outcome{Duplicate: true})
	case code != 0:
		return outcome(&roomv1.Outcome{Refused: &roomv1.Refused{Code: int32(code), Message: "no"}})
	}
	r.last[p.Firing.ScheduleId] = p.Firing.Number
	r.got[frame.RoomId] = append(r.got[frame.RoomId], p)
	return outcome(&roomv1.Outcome{Seq: uint64(len(r.got[frame.RoomId]))})
}

// HandleLink implements actorkit.Handler.
func (r *fakeRooms) HandleLink(actorkit.LinkEvent) {}

func (r *fakeRooms) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *fakeRooms) of(room string) []*roomv1.Publish {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*roomv1.Publish(nil), r.got[room]...)
}

func (r *fakeRooms) wait(room string, n int) []*roomv1.Publish {
	r.t.Helper()
	require.Eventually(r.t, func() bool { return len(r.of(room)) >= n }, patience, 5*time.Millisecond, "%d firings in %s", n, room)
	return r.of(room)
}

// startScheduler starts a scheduler node on a shared plane and backend and stops it with the test.
func startScheduler(t testing.TB, plane *memory.Plane, backend persistence.Backend, name string, edit ...func(*Config)) *Service {
	t.Helper()
	dir, err := plane.Open(context.Background(), memory.Config{})
	require.NoError(t, err)
	cfg := Config{DC: "dc-a", Node: name, DataDir: t.TempDir(), APIListen: "127.0.0.1:0", Auth: auth.Config{Mode: auth.ModeNone}}
	for _, e := range edit {
		e(&cfg)
	}
	s, err := New(cfg, Deps{Backend: backend, Directory: dir, Logger: testLogger(t)})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, s.Start(ctx))
	t.Cleanup(func() {
		stopScheduler(t, s)
		require.NoError(t, dir.Close(context.Background()))
	})
	return s
}

func stopScheduler(t testing.TB, s *Service) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, s.Stop(ctx))
}

// testLogger is silent unless PARLEY_TEST_LOG is set.
func testLogger(t testing.TB) *slog.Logger {
	if os.Getenv("PARLEY_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// adminOf is an administrator who uses the API of that node.
func adminOf(t testing.TB, s *Service) adminv1connect.ScheduleServiceClient {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return adminv1connect.NewScheduleServiceClient(&http.Client{Transport: transport, Timeout: time.Minute}, "http://"+s.APIAddr())
}
