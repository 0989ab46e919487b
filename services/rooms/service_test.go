package rooms

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/dcplane/memory"
	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/persistence"
	journalmemory "github.com/parley-rt/parley/libs/persistence/memory"
	"github.com/parley-rt/parley/libs/persistence/postgres"
	"github.com/parley-rt/parley/libs/persistence/sqlite"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// eachBackend runs a test on every backend.
func eachBackend(t *testing.T, test func(*testing.T, persistence.Backend)) {
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		test(t, journalmemory.New(journalmemory.Options{}))
	})
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		backend, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "journal.db"), sqlite.Options{})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, backend.Close(context.Background())) })
		test(t, backend)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, openPostgres(t))
	})
}

// openPostgres opens a journal of the test's own in the shared server.
func openPostgres(t testing.TB) persistence.Backend {
	t.Helper()
	backend, err := postgres.Open(context.Background(), cluster.SchemaURL(t), postgres.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, backend.Close(context.Background())) })
	return backend
}

// newService makes a service that is not started, with a plane of its own.
func newService(t testing.TB, backend persistence.Backend, health *opskit.Health) *Service {
	t.Helper()
	dir, err := memory.NewPlane().Open(context.Background(), memory.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dir.Close(context.Background())) })
	s, err := New(Config{DC: "dc-a", Node: "rooms-1", DataDir: t.TempDir()},
		Deps{Backend: backend, Directory: dir, Health: health, Logger: testLogger(t)})
	require.NoError(t, err)
	return s
}

// startRooms starts a rooms node on a shared plane and backend and stops it with the test.
func startRooms(t testing.TB, plane *memory.Plane, backend persistence.Backend, name string, edit ...func(*Config)) *Service {
	t.Helper()
	return startRoomsLogging(t, testLogger(t), plane, backend, name, edit...)
}

func startRoomsLogging(t testing.TB, logger *slog.Logger, plane *memory.Plane, backend persistence.Backend, name string,
	edit ...func(*Config)) *Service {
	t.Helper()
	dir, err := plane.Open(context.Background(), memory.Config{})
	require.NoError(t, err)
	cfg := Config{DC: "dc-a", Node: name, DataDir: t.TempDir(), DrainTimeout: 5 * time.Second}
	for _, e := range edit {
		e(&cfg)
	}
	s, err := New(cfg, Deps{Backend: backend, Directory: dir, Logger: logger})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, s.Start(ctx))
	t.Cleanup(func() {
		stopRooms(t, s)
		require.NoError(t, dir.Close(context.Background()))
	})
	return s
}

func stopRooms(t testing.TB, s *Service) {
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

// bundle is one rooms node, one gateway and what is below them.
type bundle struct {
	plane   *memory.Plane
	backend persistence.Backend
	rooms   *Service
	gw      *fakeGateway
}

func setup(t testing.TB, backend persistence.Backend, edit ...func(*Config)) *bundle {
	t.Helper()
	if backend == nil {
		backend = journalmemory.New(journalmemory.Options{})
	}
	b := &bundle{plane: memory.NewPlane(), backend: backend}
	b.gw = startGateway(t, b.plane, "gw-1")
	b.rooms = startRooms(t, b.plane, backend, "rooms-1", edit...)
	b.gw.connect(b.rooms)
	return b
}

// S1, S4, S5: what is acknowledged is delivered, in the publisher's order, as a chain that starts where Subscribed said.
func TestJoinPublishDeliver(t *testing.T) {
	t.Parallel()
	eachBackend(t, testJoinPublishDeliver)
}

func testJoinPublishDeliver(t *testing.T, backend persistence.Backend) {
	b := setup(t, backend)
	joined := b.gw.join("rooms-1", "lobby", "ada")
	require.Zero(t, joined.Head)
	require.NotZero(t, joined.Epoch)
	require.NotZero(t, joined.Incarnation)
	require.False(t, joined.Recovered)

	outcomes := b.gw.publish("rooms-1", "lobby", "ada", "before")
	require.Equal(t, uint64(1), outcomes[0].Seq)

	subscribed := b.gw.subscribe("rooms-1", "lobby")
	require.Equal(t, uint64(1), subscribed.LastMessageSeq)
	require.Equal(t, joined.Epoch, subscribed.Epoch)

	outcomes = b.gw.publish("rooms-1", "lobby", "ada", "m1", "m2", "m1", "m3")
	require.Equal(t, []uint64{2, 3, 2, 4}, []uint64{outcomes[0].Seq, outcomes[1].Seq, outcomes[2].Seq, outcomes[3].Seq})
	require.True(t, outcomes[2].Duplicate)
	outcomes = b.gw.publish("rooms-1", "lobby", "ada", "m2", "m4")
	require.True(t, outcomes[0].Duplicate)
	require.Equal(t, uint64(3), outcomes[0].Seq)

	messages := b.gw.delivered("lobby", 4)
	require.Len(t, messages, 4)
	contiguous(t, 1, messages)
	for i, id := range []string{"m1", "m2", "m3", "m4"} {
		require.Equal(t, id, messages[i].MessageId)
		require.Equal(t, "content of "+id, messages[i].Content)
		require.Equal(t, "ada", messages[i].Sender)
	}

	page := b.gw.ask("rooms-1", "lobby", readFrame(&roomv1.Read{Limit: 2})).GetPage()
	require.True(t, page.More)
	require.Equal(t, uint64(5), page.Head)
	require.Equal(t, "m4", page.Messages[1].MessageId)
	page = b.gw.ask("rooms-1", "lobby", readFrame(&roomv1.Read{AfterSeq: proto.Uint64(0)})).GetPage()
	require.False(t, page.More)
	require.Len(t, page.Messages, 5)
	contiguous(t, 0, page.Messages)
	refusedWith(t, b.gw.ask("rooms-1", "lobby", readFrame(&roomv1.Read{BeforeSeq: proto.Uint64(0)})),
		clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT)
}
