package rooms

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/persistence"
	journalmemory "github.com/parley-rt/parley/libs/persistence/memory"
	"github.com/parley-rt/parley/libs/persistence/persistencetest"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

const lobbyStream = persistence.StreamKey("room/lobby")

func setupFaulty(t testing.TB, edit ...func(*Config)) (*bundle, *persistencetest.Plan) {
	t.Helper()
	plan := persistencetest.NewPlan()
	return setup(t, persistencetest.Faulty(journalmemory.New(journalmemory.Options{}), plan), edit...), plan
}

// What the journal certainly did not store is refused with a retryable code, and the room goes on.
func TestJournalRefusesAppends(t *testing.T) {
	t.Parallel()
	b, plan := setupFaulty(t)
	epoch := b.gw.join("rooms-1", "lobby", "ada").Epoch
	plan.Add(
		persistencetest.Fault{Op: persistencetest.OpAppend, Key: lobbyStream, Err: persistence.ErrUnavailable},
		persistencetest.Fault{Op: persistencetest.OpAppend, Key: lobbyStream, Err: persistence.ErrOverloaded},
	)
	r := refusedWith(t, b.gw.ask("rooms-1", "lobby", publishFrame("ada", "m1")), clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE)
	require.NotZero(t, r.RetryAfterMs)
	refusedWith(t, b.gw.ask("rooms-1", "lobby", publishFrame("ada", "m1")), clientv1.ErrorCode_ERROR_CODE_BUSY)
	outcomes := b.gw.publish("rooms-1", "lobby", "ada", "m1")
	require.Equal(t, uint64(1), outcomes[0].Seq)
	require.False(t, outcomes[0].Duplicate)
	require.Equal(t, epoch, b.gw.subscribe("rooms-1", "lobby").Epoch, "the same activation")
}

// S1, S3: when the outcome of an append is not known the activation ends, and the next one, whose claim has settled it,
// recognises what was stored.
func TestUnknownOutcomeIsSettledByTheNextActivation(t *testing.T) {
	t.Parallel()
	for name, stored := range map[string]bool{"stored": true, "not stored": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, plan := setupFaulty(t)
			epoch := b.gw.join("rooms-1", "lobby", "ada").Epoch
			b.gw.subscribe("rooms-1", "lobby")
			plan.Add(persistencetest.Fault{Op: persistencetest.OpAppend, Key: lobbyStream, Late: stored, Err: persistence.ErrUnknown})
			answer := b.gw.ask("rooms-1", "lobby", publishFrame("ada", "m1", "m2"))
			require.Equal(t, "rooms-1", answer.GetMoved().GetOwner(), "the room starts anew on its node, answered by %v", answer)
			require.Equal(t, "rooms-1", b.gw.closed("lobby", 1).Owner)

			outcomes := b.gw.publish("rooms-1", "lobby", "ada", "m1", "m2", "m3")
			for i, o := range outcomes {
				require.Equal(t, uint64(i+1), o.Seq)
				require.Equal(t, stored && i < 2, o.Duplicate)
			}
			require.Greater(t, b.gw.subscribe("rooms-1", "lobby").Epoch, epoch)
		})
	}
}

// A room that cannot be started is refused, tried again later and harms no other.
func TestRoomThatCannotStart(t *testing.T) {
	t.Parallel()
	b, plan := setupFaulty(t)
	plan.Add(persistencetest.Fault{Op: persistencetest.OpClaim, Key: lobbyStream, Err: persistence.ErrUnavailable})
	r := refusedWith(t, b.gw.ask("rooms-1", "lobby", joinFrame("ada", "s-ada", 1, nil)), clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE)
	require.NotZero(t, r.RetryAfterMs)
	refusedWith(t, b.gw.ask("rooms-1", "lobby", joinFrame("ada", "s-ada", 1, nil)), clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE)
	require.Equal(t, 1, plan.Calls(persistencetest.OpClaim), "it is not tried again at once")
	b.gw.join("rooms-1", "other", "ada")
	require.Eventually(t, func() bool {
		return b.gw.ask("rooms-1", "lobby", joinFrame("ada", "s-ada", 1, nil)).GetJoined() != nil
	}, patience, 20*time.Millisecond)
}

// A history that cannot be understood is refused, not guessed at.
func TestCorruptRoomIsRefused(t *testing.T) {
	t.Parallel()
	backend := journalmemory.New(journalmemory.Options{})
	c, err := backend.Claim(t.Context(), lobbyStream, "tester", persistence.ClaimOptions{})
	require.NoError(t, err)
	_, err = backend.Append(t.Context(), c, 0, []persistence.Event{{MessageID: [16]byte{1}, Manifest: "parley.journal.v9.Unheard", Payload: []byte("x")}})
	require.NoError(t, err)
	require.NoError(t, backend.Release(t.Context(), c))
	b := setup(t, backend)
	refusedWith(t, b.gw.ask("rooms-1", "lobby", joinFrame("ada", "s-ada", 1, nil)), clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE)
	b.gw.join("rooms-1", "other", "ada")
}

// S9: a room whose appends hang, and that is flooded, fills its own queue and nothing else.
func TestFloodOfOneRoomDoesNotStopAnother(t *testing.T) {
	t.Parallel()
	b, plan := setupFaulty(t, func(c *Config) { c.RoomQueueBytes = 256 << 10 })
	b.gw.join("rooms-1", "lobby", "ada")
	b.gw.join("rooms-1", "quiet", "bob")
	block := make(chan struct{})
	plan.Add(persistencetest.Fault{Op: persistencetest.OpAppend, Key: lobbyStream, Block: block})

	content := strings.Repeat("x", 16<<10)
	var answers []<-chan *roomv1.Frame
	for n := range 64 { // 1 MiB, four times what the room may queue
		answers = append(answers, b.gw.start("rooms-1", "lobby", &roomv1.Frame{Kind: &roomv1.Frame_Publish{Publish: &roomv1.Publish{
			MemberId: "ada", Drafts: []*roomv1.Draft{{MessageId: fmt.Sprint(n), Content: content}},
		}}}))
	}
	busy := b.gw.await(answers[63])
	require.NotZero(t, refusedWith(t, busy, clientv1.ErrorCode_ERROR_CODE_BUSY).RetryAfterMs)
	require.LessOrEqual(t, b.rooms.meter.Used(), int64(300<<10))
	for n := range 20 {
		require.Equal(t, uint64(n+1), b.gw.publish("rooms-1", "quiet", "bob", fmt.Sprint(n))[0].Seq)
	}
	close(block)
	stored := 0
	for _, ch := range answers[:63] {
		if b.gw.await(ch).GetPublished() != nil {
			stored++
		}
	}
	require.Positive(t, stored)
	require.Less(t, stored, 20)
	require.Eventually(t, func() bool { return b.rooms.meter.Used() == 0 }, patience, time.Millisecond, "everything is given back")
}

func TestNodeBoundIsBusy(t *testing.T) {
	t.Parallel()
	b, plan := setupFaulty(t, func(c *Config) { c.NodeQueueBytes = 64 << 10 })
	b.gw.join("rooms-1", "lobby", "ada")
	block := make(chan struct{})
	plan.Add(persistencetest.Fault{Op: persistencetest.OpAppend, Key: lobbyStream, Block: block})
	big := func(id string) *roomv1.Frame {
		return &roomv1.Frame{Kind: &roomv1.Frame_Publish{Publish: &roomv1.Publish{
			MemberId: "ada", Drafts: []*roomv1.Draft{{MessageId: id, Content: strings.Repeat("x", 40<<10)}},
		}}}
	}
	first := b.gw.start("rooms-1", "lobby", big("m1"))
	refusedWith(t, b.gw.ask("rooms-1", "other", big("m2")), clientv1.ErrorCode_ERROR_CODE_BUSY)
	close(block)
	require.NotNil(t, b.gw.await(first).GetPublished())
}

// L1: frames of a room that takes too long to start are refused in time.
func TestSlowStartIsAnsweredInTime(t *testing.T) {
	t.Parallel()
	b, plan := setupFaulty(t)
	block := make(chan struct{})
	plan.Add(persistencetest.Fault{Op: persistencetest.OpRecover, Key: lobbyStream, Block: block})
	began := time.Now()
	refusedWith(t, b.gw.ask("rooms-1", "lobby", joinFrame("ada", "s-ada", 1, nil)), clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE)
	require.Less(t, time.Since(began), 5*time.Second)
	close(block)
	b.gw.join("rooms-1", "lobby", "ada")
}

// Whether a frame has waited too long is judged by one clock: that of the node, however far it is from others.
func TestSlowStartOnAFastClock(t *testing.T) {
	t.Parallel()
	b, plan := setupFaulty(t, func(c *Config) { c.now = func() time.Time { return time.Now().Add(time.Hour) } })
	plan.Add(persistencetest.Fault{Op: persistencetest.OpRecover, Key: lobbyStream, Delay: 3 * tickEvery})
	b.gw.join("rooms-1", "lobby", "ada")
}

// Reads of the journal do not hold the room up, are bounded, and fail with a retryable code.
func TestSlowReads(t *testing.T) {
	t.Parallel()
	b, plan := setupFaulty(t)
	b.gw.join("rooms-1", "lobby", "ada")
	content := strings.Repeat("x", 60<<10)
	for n := range 8 { // more than the tail holds
		answer := b.gw.ask("rooms-1", "lobby", &roomv1.Frame{Kind: &roomv1.Frame_Publish{Publish: &roomv1.Publish{
			MemberId: "ada", Drafts: []*roomv1.Draft{{MessageId: fmt.Sprint(n), Content: content}},
		}}})
		require.NotNil(t, answer.GetPublished())
	}
	fromStart := func() *roomv1.Frame { return readFrame(&roomv1.Read{AfterSeq: proto.Uint64(0)}) }
	page := b.gw.ask("rooms-1", "lobby", fromStart()).GetPage()
	require.Len(t, page.Messages, 8)
	contiguous(t, 0, page.Messages)

	block := make(chan struct{})
	plan.Add(persistencetest.Fault{Op: persistencetest.OpRead, Key: lobbyStream, Times: 4, Block: block})
	var answers []<-chan *roomv1.Frame
	for range 10 {
		answers = append(answers, b.gw.start("rooms-1", "lobby", fromStart()))
	}
	require.Equal(t, uint64(9), b.gw.publish("rooms-1", "lobby", "ada", "while reading")[0].Seq)
	close(block)
	for _, ch := range answers {
		require.GreaterOrEqual(t, len(b.gw.await(ch).GetPage().GetMessages()), 8)
	}
	plan.Add(persistencetest.Fault{Op: persistencetest.OpRead, Key: lobbyStream, Err: persistence.ErrUnavailable})
	refusedWith(t, b.gw.ask("rooms-1", "lobby", fromStart()), clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE)
}

// A page and a cursor that retention has passed by.
func TestTrimmedHistory(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, func(c *Config) { c.IdleAfter = 50 * time.Millisecond })
	b.gw.join("rooms-1", "lobby", "ada")
	b.gw.publish("rooms-1", "lobby", "ada", "m1", "m2", "m3", "m4")
	passivated(t, b, "lobby")
	c, err := b.backend.Claim(t.Context(), lobbyStream, "tester", persistence.ClaimOptions{})
	require.NoError(t, err)
	require.NoError(t, b.backend.Trim(t.Context(), c, 2))
	require.NoError(t, b.backend.Release(t.Context(), c))

	joined := b.gw.ask("rooms-1", "lobby", joinFrame("ada", "s-ada", 2, &roomv1.Cursor{AfterSeq: 1})).GetJoined()
	require.Equal(t, int32(clientv1.ResetReason_RESET_REASON_TRIMMED), joined.ResetReason)
	require.Equal(t, uint64(2), joined.Cursor)
	page := b.gw.ask("rooms-1", "lobby", readFrame(&roomv1.Read{AfterSeq: proto.Uint64(0)})).GetPage()
	require.Equal(t, uint64(2), page.Trimmed)
	require.Len(t, page.Messages, 2)
	contiguous(t, 2, page.Messages)
}

// A gateway that takes nothing costs nobody else anything, and is told to subscribe again as soon as it can hear it (L2).
func TestStalledGatewayIsCutAndTold(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	slow := startGateway(t, b.plane, "gw-2")
	slow.connect(b.rooms)
	b.gw.join("rooms-1", "lobby", "ada")
	b.gw.subscribe("rooms-1", "lobby")
	slow.subscribe("rooms-1", "lobby")

	release := slow.stall()
	content := strings.Repeat("x", 60<<10)
	const messages = 200 // 12 MB: more than a Link queues
	for n := range messages {
		answer := b.gw.ask("rooms-1", "lobby", &roomv1.Frame{Kind: &roomv1.Frame_Publish{Publish: &roomv1.Publish{
			MemberId: "ada", Drafts: []*roomv1.Draft{{MessageId: fmt.Sprint(n), Content: content}},
		}}})
		require.NotNil(t, answer.GetPublished())
	}
	contiguous(t, 0, b.gw.delivered("lobby", messages))
	release()
	slow.closed("lobby", 1)
	got := messagesOf(slow.frames, "lobby")
	contiguous(t, 0, got)
	require.Less(t, len(got), messages)
	require.Equal(t, uint64(messages), slow.subscribe("rooms-1", "lobby").LastMessageSeq)
}

func TestMalformedFramesAreDropped(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for _, body := range [][]byte{nil, {0xff}, []byte("no frame at all")} {
		require.NoError(t, b.gw.node.Send("rooms-1", actorkit.Frame{Body: body}))
	}
	require.NoError(t, b.gw.send("rooms-1", &roomv1.Frame{RoomId: "no/room", Kind: &roomv1.Frame_Subscribe{Subscribe: &roomv1.Subscribe{}}}))
	require.NoError(t, b.gw.send("rooms-1", &roomv1.Frame{RoomId: "lobby", Kind: &roomv1.Frame_Subscribed{Subscribed: &roomv1.Subscribed{}}}))
	b.gw.join("rooms-1", "lobby", "ada")
	refusedWith(t, b.gw.ask("rooms-1", "lobby", publishFrame("ada", make([]string, 2000)...)), clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT)
}

// A gateway that this node does not know yet gets no answers, and does no harm.
func TestUnknownGateway(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	stranger := startGateway(t, b.plane, "gw-2")
	require.NoError(t, stranger.reg.Deregister(t.Context()))
	require.Eventually(t, func() bool { _, known := b.rooms.node.Link("gw-2"); return !known }, patience, 5*time.Millisecond)
	stranger.node.SetPeers([]actorkit.Peer{b.rooms.node.Self()})
	require.Eventually(t, func() bool { s, _ := stranger.node.Link("rooms-1"); return s.Up }, patience, 5*time.Millisecond)
	for _, frame := range []*roomv1.Frame{
		joinFrame("eve", "s", 1, nil),
		{Kind: &roomv1.Frame_Subscribe{Subscribe: &roomv1.Subscribe{}}},
		{Kind: &roomv1.Frame_Online{Online: &roomv1.Online{Full: true, Members: []*roomv1.Present{{MemberId: "eve", Connections: 1}}}}},
	} {
		frame.RoomId = "lobby"
		require.NoError(t, stranger.send("rooms-1", frame))
	}
	b.gw.join("rooms-1", "lobby", "ada")
	answer := b.gw.ask("rooms-1", "lobby", &roomv1.Frame{Kind: &roomv1.Frame_PresenceQuery{PresenceQuery: &roomv1.PresenceQuery{}}})
	require.Zero(t, answer.GetPresenceList().Count)
}

// A node that cannot ask the journal what it lost says so to its peers and is not ready.
func TestBlindNode(t *testing.T) {
	t.Parallel()
	plan := persistencetest.NewPlan()
	b := setup(t, persistencetest.Faulty(journalmemory.New(journalmemory.Options{}), plan), func(c *Config) {
		c.TakeoverEvery, c.BlindAfter = 20*time.Millisecond, 100*time.Millisecond
	})
	plan.Add(persistencetest.Fault{Op: persistencetest.OpTakeovers, Times: -1, Err: persistence.ErrUnavailable})
	blind := func(want bool) {
		require.Eventually(t, func() bool { s, _ := b.gw.node.Link("rooms-1"); return s.Blind == want }, patience, 5*time.Millisecond)
	}
	blind(true)
	plan.Clear()
	blind(false)
}

func TestHealthChecks(t *testing.T) {
	t.Parallel()
	plan := persistencetest.NewPlan()
	health := opskit.NewHealth()
	health.SetStarted()
	b := &bundle{backend: persistencetest.Faulty(journalmemory.New(journalmemory.Options{}), plan)}
	s := newService(t, b.backend, health)
	require.NoError(t, s.Start(t.Context()))
	ok, details := health.Ready(t.Context())
	require.True(t, ok, "%v", details)
	plan.Add(persistencetest.Fault{Op: persistencetest.OpPing, Times: -1, Err: persistence.ErrUnavailable})
	require.Eventually(t, func() bool { ok, _ := health.Ready(t.Context()); return !ok }, patience, 20*time.Millisecond)
	stopRooms(t, s)
	ok, details = health.Ready(t.Context())
	require.True(t, ok, "the checks go with the service: %v", details)
	require.ErrorIs(t, s.Start(context.Background()), ErrState)
}

func TestNewReportsEverything(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Node: "no/name", Host: "localhost", RemotingPort: 70_000, FencedMin: time.Second, FencedMax: time.Millisecond}, Deps{})
	require.ErrorIs(t, err, ErrInvalidConfig)
	for _, part := range []string{"dc is empty", "node: ", "host ", "remoting port 70000", "fenced max", "backend is missing", "directory is missing"} {
		require.ErrorContains(t, err, part)
	}
}

func TestStartFailsCleanly(t *testing.T) {
	t.Parallel()
	s := newService(t, journalmemory.New(journalmemory.Options{}), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.True(t, errors.Is(s.Start(ctx), context.Canceled))
}
