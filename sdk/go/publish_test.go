package parley_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/sdk/go"
)

func TestPublishCarriesEverything(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{})
	at := time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)
	result := make(chan outcome, 1)
	go func() {
		a, err := room.Publish(t.Context(), "hello", parley.PublishOptions{
			MessageID: "id-1", SentAt: at, Traceparent: "tp", Tracestate: "ts",
		})
		result <- outcome{a, err}
	}()
	m, id := p.message()
	require.Equal(t, "room", m.GetTarget())
	require.Equal(t, "hello", m.GetContent())
	require.Equal(t, "id-1", m.GetMessageId())
	require.Equal(t, at, m.GetSentAt().AsTime())
	require.Equal(t, "tp", m.GetTraceparent())
	require.Equal(t, "ts", m.GetTracestate())
	p.send(ack(id, m, 12, true))
	require.Equal(t, outcome{ack: parley.Ack{RoomID: "room", MessageID: "id-1", Seq: 12, Duplicate: true}}, await(t, result))
}

func TestPublishSurvivesReconnects(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{})
	var results []<-chan outcome
	var sent []string
	for i := range 3 {
		results = append(results, publish(t.Context(), room, fmt.Sprint(i), fmt.Sprint("id-", i)))
		m, _ := p.message()
		sent = append(sent, m.GetMessageId())
	}
	for range 2 {
		p.cut()
		p = s.accept()
		hello := p.hello()
		require.Equal(t, "room", hello.GetRooms()[0].GetRoomId())
		require.Equal(t, uint64(10), hello.GetRooms()[0].GetAfterSeq())
		require.Equal(t, uint64(1), hello.GetRooms()[0].GetIncarnation())
		p.session("token-2", "me", true)
		p.silence(20 * time.Millisecond) // nothing is published before the room is joined again
		p.send(roomJoined(0, "room", 10, 1, true))
		for _, want := range sent {
			m, id := p.message()
			require.Equal(t, want, m.GetMessageId(), "sent again in order with the same id")
			if want == "id-1" {
				p.send(ack(id, m, 12, true))
			}
		}
		sent = []string{"id-0", "id-2"}
	}
	require.Equal(t, uint64(12), await(t, results[1]).ack.Seq)
	p.cut()
	p, _ = resume(t, s, "token-3")
	for range 2 {
		m, id := p.message()
		p.send(ack(id, m, 13, false))
	}
	require.NoError(t, await(t, results[0]).err)
	require.NoError(t, await(t, results[2]).err)
}

func TestLostAckIsAskedForAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cfg := fast()
	cfg.AnswerTimeout = 200 * time.Millisecond
	client, p := dial(t, s, cfg)
	room := enter(t, client, p, parley.JoinOptions{})
	result := publish(t.Context(), room, "hello", "id-1")
	first, firstID := p.message()
	again, id := p.message()
	require.Equal(t, first.GetMessageId(), again.GetMessageId())
	require.NotEqual(t, firstID, id)
	// A late refusal of the first attempt says nothing about the second.
	p.send(refusal(firstID, parley.CodeForbidden, "room", "id-1", false, 0))
	p.send(ack(id, again, 11, true))
	require.Equal(t, uint64(11), await(t, result).ack.Seq)
}

func TestOwnMessageSettles(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{})
	result := publish(t.Context(), room, "hello", "id-1")
	m, _ := p.message()
	own := delivery("room", 11, 9)
	own.GetMessage().MessageId, own.GetMessage().Sender = m.GetMessageId(), "me"
	p.send(own)
	require.Equal(t, uint64(11), await(t, result).ack.Seq)

	// Somebody else's message with the same id, or one from before the publish, is another one.
	result = publish(t.Context(), room, "hello", "id-2")
	p.message()
	other := delivery("room", 12, 11)
	other.GetMessage().MessageId = "id-2"
	old := delivery("room", 8, 7)
	old.GetMessage().MessageId, old.GetMessage().Sender = "id-2", "me"
	p.send(other, old)
	select {
	case out := <-result:
		t.Fatalf("settled by %v", out)
	case <-time.After(50 * time.Millisecond):
	}
}

func TestDuplicateAcksAreHarmless(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{})
	for i := range 3 {
		result := publish(t.Context(), room, "hello", fmt.Sprint("id-", i))
		m, id := p.message()
		p.send(ack(id, m, 11, false), ack(id, m, 11, true), ack(id, m, 11, true))
		require.Equal(t, uint64(11), await(t, result).ack.Seq)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{})

	result := publish(t.Context(), room, "hello", "id-1")
	m, id := p.message()
	p.send(refusal(id, parley.CodeMuted, "room", m.GetMessageId(), false, 0))
	out := await(t, result)
	var refused *parley.Error
	require.ErrorAs(t, out.err, &refused)
	require.Equal(t, parley.CodeMuted, refused.Code)
	var failed *parley.PublishError
	require.ErrorAs(t, out.err, &failed)
	require.False(t, failed.MaybeStored)
	require.Equal(t, "id-1", failed.MessageID)

	// A retryable one is tried again, not earlier than the server says, and may then be refused for good.
	result = publish(t.Context(), room, "hello", "id-2")
	_, id = p.message()
	const after = 80 * time.Millisecond
	at := time.Now()
	p.send(refusal(id, parley.CodeRateLimited, "room", "id-2", true, after))
	m, _ = p.message()
	require.GreaterOrEqual(t, time.Since(at), after)
	require.Equal(t, "id-2", m.GetMessageId())
	// Without an id the message's id tells what was refused.
	p.send(refusal(0, parley.CodeBusy, "room", "id-2", true, 0))
	_, id = p.message()
	p.send(refusal(id, parley.CodeForbidden, "room", "id-2", false, 0))
	out = await(t, result)
	require.ErrorAs(t, out.err, &failed)
	require.True(t, failed.MaybeStored, "the earlier attempts may be stored")

	// A frame that the server could not read is refused by its id alone.
	result = publish(t.Context(), room, "hello", "id-3")
	_, id = p.message()
	p.send(refusal(id, parley.CodeBadFrame, "", "", false, 0))
	require.ErrorAs(t, await(t, result).err, &refused)
	require.Equal(t, parley.CodeBadFrame, refused.Code)
}

func TestLaterPublishesWaitForARefusedOne(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{})
	start := func(id string) *parley.Pending {
		t.Helper()
		pending, err := room.PublishAsync(t.Context(), id, parley.PublishOptions{MessageID: id})
		require.NoError(t, err)
		require.Equal(t, id, pending.MessageID())
		return pending
	}
	a, b := start("a"), start("b")
	ma, ida := p.message()
	mb, idb := p.message()
	p.send(refusal(ida, parley.CodeBusy, "room", ma.GetMessageId(), true, 60*time.Millisecond))
	require.Eventually(t, func() bool { return room.Head() == 10 }, patience, time.Millisecond)
	p.send(ack(idb, mb, 11, false))
	_, err := b.Wait()
	require.NoError(t, err)
	c := start("c")
	again, ida := p.message()
	require.Equal(t, "a", again.GetMessageId())
	p.silence(50 * time.Millisecond)
	p.send(ack(ida, again, 12, false))
	mc, idc := p.message()
	require.Equal(t, "c", mc.GetMessageId())
	p.send(ack(idc, mc, 13, false))
	for _, pending := range []*parley.Pending{a, c} {
		_, err := pending.Wait()
		require.NoError(t, err)
	}
}

func TestPublishEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	result := publish(ctx, room, "hello", "id-1")
	pending, err := room.PublishAsync(ctx, "hello", parley.PublishOptions{MessageID: "id-2"})
	require.NoError(t, err)
	p.message()
	p.message()
	cancel()
	out := await(t, result)
	require.ErrorIs(t, out.err, context.Canceled)
	var failed *parley.PublishError
	require.ErrorAs(t, out.err, &failed)
	require.True(t, failed.MaybeStored)
	_, err = pending.Wait()
	require.ErrorIs(t, err, context.Canceled)

	// Its id is free again, and late answers to the abandoned one do nothing.
	result = publish(t.Context(), room, "hello", "id-1")
	m, id := p.message()
	p.send(ack(id, m, 11, true))
	require.NoError(t, await(t, result).err)
}

func TestPublishQueueIsBounded(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cfg := fast()
	cfg.MaxPending = 2
	client, p := dial(t, s, cfg)
	room := enter(t, client, p, parley.JoinOptions{})
	for i := range 2 {
		_, err := room.PublishAsync(t.Context(), "hello", parley.PublishOptions{MessageID: fmt.Sprint("id-", i)})
		require.NoError(t, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err := room.Publish(ctx, "hello", parley.PublishOptions{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	third := publish(t.Context(), room, "hello", "id-3")
	m, id := p.message()
	p.message()
	p.send(ack(id, m, 11, false))
	m, id = p.message()
	require.Equal(t, "id-3", m.GetMessageId())
	p.send(ack(id, m, 12, false))
	require.NoError(t, await(t, third).err)
}

func TestPublishChecksBeforeItSends(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{})
	for name, tc := range map[string]struct {
		content string
		opts    parley.PublishOptions
		code    parley.Code
	}{
		"content not UTF-8":     {"\xff", parley.PublishOptions{}, parley.CodeInvalidArgument},
		"trace not UTF-8":       {"", parley.PublishOptions{Tracestate: "\xff"}, parley.CodeInvalidArgument},
		"id too long":           {"", parley.PublishOptions{MessageID: strings.Repeat("x", 129)}, parley.CodeInvalidArgument},
		"time out of range":     {"", parley.PublishOptions{SentAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, parley.CodeInvalidArgument},
		"too large":             {strings.Repeat("x", 64<<10), parley.PublishOptions{}, parley.CodeTooLarge},
		"too large once quoted": {strings.Repeat("\x01", 12<<10), parley.PublishOptions{}, parley.CodeTooLarge},
	} {
		_, err := room.Publish(t.Context(), tc.content, tc.opts)
		var refused *parley.Error
		require.ErrorAs(t, err, &refused, name)
		require.Equal(t, tc.code, refused.Code, name)
	}
	p.silence(20 * time.Millisecond)

	result := publish(t.Context(), room, strings.Repeat("x", 63<<10), "id-1")
	m, id := p.message()
	_, err := room.Publish(t.Context(), "again", parley.PublishOptions{MessageID: "id-1"})
	require.ErrorIs(t, err, parley.ErrPending)
	p.send(ack(id, m, 11, false))
	require.NoError(t, await(t, result).err)
}

func TestNewMemberDoesNotRepeatTheOldOnesMessages(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{})
	tried := publish(t.Context(), room, "tried", "id-1")
	p.message()
	p.cut()
	require.Eventually(t, func() bool { return client.State() != parley.Connected }, patience, time.Millisecond)
	untried := publish(t.Context(), room, "untried", "id-2")
	p = s.accept()
	hello := p.hello()
	require.Len(t, hello.GetRooms(), 1)
	p.session("token-9", "someone-else", false)
	p.send(roomJoined(0, "room", 10, 1, true))
	out := await(t, tried)
	require.ErrorIs(t, out.err, parley.ErrSessionLost)
	var failed *parley.PublishError
	require.ErrorAs(t, out.err, &failed)
	require.True(t, failed.MaybeStored)
	m, id := p.message()
	require.Equal(t, "id-2", m.GetMessageId())
	p.send(ack(id, m, 11, false))
	require.NoError(t, await(t, untried).err)
}

func TestRewoundPublishesAgainWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{})
	for i, seq := range []uint64{11, 12, 13} {
		result := publish(t.Context(), room, fmt.Sprint(i), fmt.Sprint("id-", i))
		m, id := p.message()
		p.send(ack(id, m, seq, false))
		require.NoError(t, await(t, result).err)
	}
	got := consume(t, room)
	p.cut()
	p = s.accept()
	p.hello()
	p.session("token-2", "me", true)
	p.send(roomJoined(0, "room", 11, 2, false), reset("room", 11, parley.Rewound))
	join, joinID := p.join() // the membership may be lost, too: nothing is published before it is there again
	require.Equal(t, uint64(11), join.GetAfterSeq())
	require.Equal(t, uint64(2), join.GetIncarnation())
	p.silence(50 * time.Millisecond)
	p.send(roomJoined(joinID, "room", 11, 2, true))
	for i := range 3 {
		m, id := p.message()
		require.Equal(t, fmt.Sprint("id-", i), m.GetMessageId())
		require.Equal(t, fmt.Sprint(i), m.GetContent())
		if i == 1 { // refused for the moment: repeated like any other
			p.send(refusal(id, parley.CodeBusy, "room", m.GetMessageId(), true, 0))
			continue
		}
		p.send(ack(id, m, 11+uint64(i), i == 0))
	}
	m, id := p.message()
	require.Equal(t, "id-1", m.GetMessageId())
	p.send(ack(id, m, 14, false))
	var resetErr *parley.ResetError
	require.ErrorAs(t, await(t, got).err, &resetErr)
	require.Equal(t, &parley.ResetError{RoomID: "room", Seq: 11, Reason: parley.Rewound}, resetErr)

	// The other reasons repeat nothing.
	p.send(reset("room", 20, parley.Trimmed), reset("room", 30, parley.ReplayLimit))
	require.ErrorAs(t, await(t, got).err, &resetErr)
	require.ErrorAs(t, await(t, got).err, &resetErr)
	require.Equal(t, uint64(30), resetErr.Seq)
	p.silence(50 * time.Millisecond)
}

// Who is connected when a history is lost hears of it by the reset alone. The join that follows must not present the incarnation
// that is gone: its answer would be another reset.
func TestRewoundWhileConnectedIsToldOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{})
	got := consume(t, room)
	p.send(reset("room", 7, parley.Rewound), delivery("room", 8, 7))
	join, id := p.join()
	require.GreaterOrEqual(t, join.GetAfterSeq(), uint64(7))
	require.Zero(t, join.GetIncarnation())
	p.send(roomJoined(id, "room", 8, 2, true), delivery("room", 9, 8))
	var resetErr *parley.ResetError
	require.ErrorAs(t, await(t, got).err, &resetErr)
	require.Equal(t, &parley.ResetError{RoomID: "room", Seq: 7, Reason: parley.Rewound}, resetErr)
	require.Equal(t, parley.Cursor{Seq: 8, MessageID: "id-8"}, await(t, got).msg.Cursor())
	require.Equal(t, parley.Cursor{Seq: 9, MessageID: "id-9", Incarnation: 2}, await(t, got).msg.Cursor())
	p.cut()
	require.Equal(t, uint64(2), s.accept().hello().GetRooms()[0].GetIncarnation())
}

func TestAsyncPublishesKeepTheirOrder(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{})
	const n = 200
	all := make([]*parley.Pending, 0, n)
	done := make(chan error, 1)
	go func() {
		for i := range n {
			pending, err := room.PublishAsync(context.Background(), fmt.Sprint(i), parley.PublishOptions{})
			if err != nil {
				done <- err
				return
			}
			all = append(all, pending)
		}
		done <- nil
	}()
	var unanswered []*clientv1.Envelope
	for i := range n {
		m, id := p.message()
		require.Equal(t, fmt.Sprint(i), m.GetContent())
		unanswered = append(unanswered, ack(id, m, uint64(11+i), false))
		if len(unanswered) == 64 || i == n-1 { // the window: no more comes before an answer
			p.send(unanswered...)
			unanswered = nil
		}
	}
	require.NoError(t, await(t, done))
	for i, pending := range all {
		a, err := pending.Wait()
		require.NoError(t, err)
		require.Equal(t, uint64(11+i), a.Seq)
	}
}
