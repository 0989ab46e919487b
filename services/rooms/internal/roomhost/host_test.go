package roomhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/memory"
	"github.com/parley-rt/parley/libs/persistence/persistencetest"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/rooms/internal/room"
)

const lobbyStream = persistence.StreamKey("room/lobby")

func (b *bundle) refused(answer *roomv1.Frame, code clientv1.ErrorCode) *roomv1.Refused {
	b.t.Helper()
	require.NotNil(b.t, answer.GetRefused(), "answered by %v", answer)
	require.Equal(b.t, code, clientv1.ErrorCode(answer.GetRefused().Code))
	return answer.GetRefused()
}

// S1, S3, S9: a room that panics takes nothing with it but its own unanswered frames; it comes back after a pause, with
// everything that was stored.
func TestCrashedRoomComesBack(t *testing.T) {
	t.Parallel()
	b := setup(t, memory.New(memory.Options{}))
	b.join("lobby", "ada")
	b.join("other", "ada")
	var poisoned atomic.Bool
	poisoned.Store(true)
	crashed := make(chan struct{})
	b.links.onSend(func(f *roomv1.Frame) error {
		if f.RoomId == "lobby" && f.GetPublished() != nil && poisoned.CompareAndSwap(true, false) {
			defer close(crashed)
			panic("poison")
		}
		return nil
	})
	b.start("lobby", publishFrame("ada", "m1", "stored, and the room dies before it says so"))
	<-crashed
	require.Equal(t, uint64(1), b.ask("other", publishFrame("ada", "m1", "x")).GetPublished().Outcomes[0].Seq)
	require.Eventually(t, func() bool {
		answer := <-b.start("lobby", publishFrame("ada", "m1", "again"))
		if answer.GetPublished() == nil {
			b.refused(answer, clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE)
			return false
		}
		o := answer.GetPublished().Outcomes[0]
		return o.Seq == 1 && o.Duplicate
	}, patience, 20*time.Millisecond)
	require.Eventually(t, func() bool { return b.meter.Used() == 0 }, patience, time.Millisecond, "what died with the room is not counted for ever")
}

// A room that owes somebody a Closed stays until the Link has taken it.
func TestOwedClosedIsSentWhenTheLinkTakesIt(t *testing.T) {
	t.Parallel()
	b := setup(t, memory.New(memory.Options{}), func(c *Config) { c.IdleAfter = time.Millisecond })
	b.join("lobby", "ada")
	require.NotNil(t, b.ask("lobby", &roomv1.Frame{Kind: &roomv1.Frame_Subscribe{Subscribe: &roomv1.Subscribe{}}}).GetSubscribed())
	var full atomic.Bool
	full.Store(true)
	closed, tried := make(chan *roomv1.Closed, 10), make(chan struct{}, 1000)
	b.links.onSend(func(f *roomv1.Frame) error {
		if f.GetDeliver() == nil && f.GetClosed() == nil {
			return nil
		}
		if full.Load() {
			tried <- struct{}{}
			return actorkit.ErrLinkFull
		}
		if c := f.GetClosed(); c != nil {
			closed <- c
		}
		return nil
	})
	require.NotNil(t, b.ask("lobby", publishFrame("ada", "m1", "x")).GetPublished())
	<-tried // the delivery
	<-tried // Closed, at once
	stop := b.ticking()
	defer stop()
	<-tried // Closed again: idle or not, the room is still there
	full.Store(false)
	select {
	case c := <-closed:
		require.Equal(t, "rooms-1", c.Owner)
	case <-time.After(patience):
		require.Fail(t, "no Closed")
	}
}

// ticking drives the host's clock.
func (b *bundle) ticking() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				b.tell(&Tick{})
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

func TestStartQueueIsBounded(t *testing.T) {
	t.Parallel()
	plan := persistencetest.NewPlan()
	b := setup(t, persistencetest.Faulty(memory.New(memory.Options{}), plan), func(c *Config) { c.StartQueue = 10 })
	block, reached := make(chan struct{}), make(chan struct{})
	plan.Add(persistencetest.Fault{Op: persistencetest.OpClaim, Key: lobbyStream, Block: block, Reached: func() { close(reached) }})
	var answers []<-chan *roomv1.Frame
	for n := range 12 {
		answers = append(answers, b.start("lobby", &roomv1.Frame{Kind: &roomv1.Frame_Join{Join: &roomv1.Join{
			MemberId: fmt.Sprint("m", n), SessionId: "s", Operation: 1,
		}}}))
	}
	<-reached
	b.refused(<-answers[10], clientv1.ErrorCode_ERROR_CODE_BUSY)
	b.refused(<-answers[11], clientv1.ErrorCode_ERROR_CODE_BUSY)
	close(block)
	for _, ch := range answers[:10] {
		require.NotNil(t, (<-ch).GetJoined())
	}
}

// L5: a drain ends also when rooms are just starting, and what comes after is sent on.
func TestDrainWhileStarting(t *testing.T) {
	t.Parallel()
	plan := persistencetest.NewPlan()
	journal := memory.New(memory.Options{})
	b := setup(t, persistencetest.Faulty(journal, plan), func(c *Config) { c.Starts, c.Stops = 2, 2 })
	b.join("running", "ada")
	block, reached := make(chan struct{}), make(chan struct{}, 2)
	plan.Add(persistencetest.Fault{Op: persistencetest.OpClaim, Times: 2, Block: block, Reached: func() { reached <- struct{}{} }})
	var answers []<-chan *roomv1.Frame
	for n := range 5 {
		answers = append(answers, b.start(fmt.Sprint("r", n), &roomv1.Frame{Kind: &roomv1.Frame_Join{Join: &roomv1.Join{
			MemberId: "ada", SessionId: "s", Operation: 1,
		}}}))
	}
	<-reached
	<-reached
	done := make(chan struct{})
	b.tell(&Drain{Done: done})
	require.NotNil(t, b.ask("elsewhere", publishFrame("ada", "m1", "x")).GetMoved())
	select {
	case <-done:
		require.Fail(t, "rooms are still starting")
	default:
	}
	close(block)
	<-done
	for _, ch := range answers {
		require.NotNil(t, (<-ch).GetJoined(), "what came before the drain is served")
	}
	for n := range 5 {
		head, err := journal.Head(t.Context(), persistence.StreamKey(fmt.Sprint("room/r", n)))
		require.NoError(t, err)
		require.Empty(t, head.Owner)
	}
	require.NotNil(t, b.ask("running", publishFrame("ada", "m1", "x")).GetMoved())
	require.Eventually(t, func() bool { return b.meter.Used() == 0 }, patience, time.Millisecond)
}

// L3: rooms that an earlier life of the node has left behind are nobody else's as long as the node lives. One that drains does
// not keep them: it does not start them any more.
func TestDrainingNodeReleasesWhatItDoesNotRun(t *testing.T) {
	t.Parallel()
	plan := persistencetest.NewPlan()
	journal := memory.New(memory.Options{})
	for key, owner := range map[persistence.StreamKey]string{lobbyStream: "rooms-1", "room/theirs": "rooms-2"} {
		_, err := journal.Claim(t.Context(), key, owner, persistence.ClaimOptions{})
		require.NoError(t, err)
	}
	b := setup(t, persistencetest.Faulty(journal, plan))
	b.join("slow", "ada")
	block, reached := make(chan struct{}), make(chan struct{})
	plan.Add(persistencetest.Fault{Op: persistencetest.OpRelease, Key: "room/slow", Block: block, Reached: func() { close(reached) }})
	done := make(chan struct{})
	b.tell(&Drain{Done: done})
	<-reached
	for _, room := range []string{"lobby", "theirs", "never"} {
		moved := b.ask(room, publishFrame("ada", "m1", "x")).GetMoved()
		require.NotNil(t, moved, room)
		require.Empty(t, moved.Owner, room)
	}
	for key, owner := range map[persistence.StreamKey]string{lobbyStream: "", "room/theirs": "rooms-2"} {
		head, err := journal.Head(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, owner, head.Owner)
		require.Equal(t, uint64(1), head.Epoch)
	}
	// However many ask while the journal is slow, it is asked once for a room.
	looks, asked, slowly := plan.Calls(persistencetest.OpHead), make(chan struct{}), make(chan struct{})
	plan.Add(persistencetest.Fault{Op: persistencetest.OpHead, Key: "room/many", Block: slowly, Reached: func() { close(asked) }})
	answers := []<-chan *roomv1.Frame{b.start("many", publishFrame("ada", "m1", "x"))}
	<-asked
	for range 9 {
		answers = append(answers, b.start("many", publishFrame("ada", "m1", "x")))
	}
	require.NotNil(t, b.ask("never", publishFrame("ada", "m1", "x")).GetMoved(), "others do not wait")
	close(slowly)
	for _, answer := range answers {
		require.NotNil(t, (<-answer).GetMoved())
	}
	require.Equal(t, looks+2, plan.Calls(persistencetest.OpHead), "one for each room")
	close(block)
	<-done
}

// Somebody claims between the look at the head and the claim: the host looks again.
func TestGuardedClaimIsTriedAgain(t *testing.T) {
	t.Parallel()
	journal := memory.New(memory.Options{})
	_, err := journal.Claim(t.Context(), lobbyStream, "rival", persistence.ClaimOptions{})
	require.NoError(t, err)
	b := setup(t, &staleHead{Backend: journal})
	answer := b.ask("lobby", publishFrame("ada", "m1", "x"))
	require.Equal(t, "rival", answer.GetMoved().GetOwner(), "answered by %v", answer)
}

// L3: an answer of the journal that is lost on the way costs a start little, not all the time that it has.
func TestLostHeadIsAskedForAgain(t *testing.T) {
	t.Parallel()
	plan, lost := persistencetest.NewPlan(), make(chan struct{})
	defer close(lost)
	plan.Add(persistencetest.Fault{Op: persistencetest.OpHead, Key: lobbyStream, Times: 2, Block: lost})
	b := setup(t, persistencetest.Faulty(memory.New(memory.Options{}), plan), func(c *Config) {
		c.Env.Limits.StartTimeout, c.Env.Limits.HeadTimeout = time.Hour, 10*time.Millisecond
	})
	b.join("lobby", "ada")
}

// A start that never hears from the journal ends when its time does.
func TestHeadThatNeverComes(t *testing.T) {
	t.Parallel()
	plan, lost := persistencetest.NewPlan(), make(chan struct{})
	defer close(lost)
	plan.Add(persistencetest.Fault{Op: persistencetest.OpHead, Key: lobbyStream, Times: 1000, Block: lost})
	b := setup(t, persistencetest.Faulty(memory.New(memory.Options{}), plan), func(c *Config) {
		c.Env.Limits.StartTimeout, c.Env.Limits.HeadTimeout = 100*time.Millisecond, 10*time.Millisecond
	})
	b.refused(b.ask("lobby", publishFrame("ada", "m1", "x")), clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE)
	require.Greater(t, plan.Calls(persistencetest.OpHead), 1)
}

// staleHead answers the first Head of a room as if it had never been claimed.
type staleHead struct {
	persistence.Backend
	asked atomic.Bool
}

func (s *staleHead) Head(ctx context.Context, key persistence.StreamKey) (persistence.Head, error) {
	head, err := s.Backend.Head(ctx, key)
	if s.asked.CompareAndSwap(false, true) {
		return persistence.Head{Key: key}, err
	}
	return head, err
}

func TestHoldsGrow(t *testing.T) {
	t.Parallel()
	now := time.Now()
	cfg := Config{RetryMin: 100 * time.Millisecond, RetryMax: time.Second, FencedMin: time.Second, FencedMax: 5 * time.Second}
	cfg.Env.Now, cfg.Env.Logger = func() time.Time { return now }, slog.New(slog.DiscardHandler)
	h := New(cfg)
	for _, want := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		require.Equal(t, want*time.Millisecond, h.holdOff("lobby", cfg.RetryMax))
	}
	for range 100 {
		h.holdOn("lobby", heldFenced, "rival", 0)
		held := h.holds["lobby"]
		require.GreaterOrEqual(t, held.until.Sub(now), time.Second)
		require.Less(t, held.until.Sub(now), 5*time.Second)
	}
	require.Equal(t, 100*time.Millisecond, h.holdOff("lobby", cfg.RetryMax), "being fenced is not a failure")
}

// L3: how long a room is not tried again grows with its own failures, and not with how long the journal is away.
func TestHoldsOfAnAbsentJournalAreShort(t *testing.T) {
	t.Parallel()
	now := time.Now()
	cfg := Config{}
	cfg.Env.Now, cfg.Env.Logger = func() time.Time { return now }, slog.New(slog.DiscardHandler)
	for err, longest := range map[error]time.Duration{
		persistence.ErrUnavailable:    time.Second,
		persistence.ErrOverloaded:     time.Second,
		persistence.ErrUnknown:        time.Second,
		persistence.ErrCorrupt:        5 * time.Second,
		errors.New("anything at all"): 5 * time.Second,
	} {
		h := New(cfg)
		var wait time.Duration
		for range 20 {
			wait = h.holdOff("lobby", h.retryMax(fmt.Errorf("claim: %w", err)))
			require.LessOrEqual(t, wait, longest, err)
		}
		require.Equal(t, longest, wait, err)
	}
	h := New(cfg)
	for range 20 {
		h.holdOff("lobby", h.retryMax(persistence.ErrUnavailable))
	}
	require.Less(t, h.holdOff("lobby", h.retryMax(persistence.ErrCorrupt)), 2*time.Second, "the journal's absences do not add up")
}

// While the journal is away every room is tried once a second, and that is not worth a line each.
func TestAbsentJournalIsLoggedOnce(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	cfg := Config{}
	cfg.Env.Now, cfg.Env.Logger = time.Now, slog.New(slog.NewTextHandler(&text, nil))
	h := New(cfg)
	fail := func(err error) (lines int) {
		text.Reset()
		for n := range 100 {
			h.startFailed(&slot{roomID: fmt.Sprint(n), shared: room.NewSlot(1, 0)}, err)
		}
		return strings.Count(text.String(), "room cannot be started")
	}
	require.Less(t, fail(persistence.ErrUnavailable), 10, "once a second")
	require.Equal(t, 100, fail(persistence.ErrCorrupt), "which room it is matters")
}

func TestStartRefusal(t *testing.T) {
	t.Parallel()
	code, _ := startRefusal(fmt.Errorf("claim: %w", persistence.ErrOverloaded))
	require.Equal(t, codeBusy, code)
	code, _ = startRefusal(errors.New("anything else"))
	require.Equal(t, codeUnavailable, code)
}
