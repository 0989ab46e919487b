package parley_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/sdk/go"
)

func seqs(t *testing.T, got <-chan collected, n int) []uint64 {
	t.Helper()
	out := make([]uint64, 0, n)
	for range n {
		c := await(t, got)
		require.NoError(t, c.err)
		out = append(out, c.msg.Seq)
	}
	return out
}

func TestMessagesFollowTheRule(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{})
	got := consume(t, room)
	require.Equal(t, parley.Cursor{Seq: 10, Incarnation: 1}, room.Cursor())
	p.send(
		delivery("room", 10, 9),  // at the cursor: seen
		delivery("room", 13, 9),  // numbers have holes
		delivery("room", 13, 9),  // repeated
		delivery("room", 12, 11), // behind
		delivery("room", 14, 13),
	)
	require.Equal(t, []uint64{13, 14}, seqs(t, got, 2))
	require.Equal(t, parley.Cursor{Seq: 14, MessageID: "id-14", Incarnation: 1}, room.Cursor())

	// A gap: the room is joined again from the cursor, once, and nothing is delivered before the answer.
	p.send(delivery("room", 17, 16), delivery("room", 18, 17))
	j, id := p.join()
	require.Equal(t, uint64(14), j.GetAfterSeq())
	require.Equal(t, "id-14", j.GetAfterMessageId())
	require.Equal(t, uint64(1), j.GetIncarnation())
	p.silence(150 * time.Millisecond)
	p.send(roomJoined(id, "room", 18, 1, true))
	for seq := uint64(15); seq <= 19; seq++ {
		p.send(delivery("room", seq, seq-1))
	}
	require.Equal(t, []uint64{15, 16, 17, 18, 19}, seqs(t, got, 5))
	require.Equal(t, uint64(19), room.Head())
}

func TestAnUnansweredRejoinIsRepeated(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cfg := fast()
	cfg.AnswerTimeout = 300 * time.Millisecond
	client, p := dial(t, s, cfg)
	room := enter(t, client, p, parley.JoinOptions{})
	got := consume(t, room)
	p.send(delivery("room", 17, 16))
	p.join()
	j, id := p.join()
	require.Equal(t, uint64(10), j.GetAfterSeq())
	// A refusal for the moment, too.
	p.send(refusal(id, parley.CodeUnavailable, "room", "", true, 0))
	_, id = p.join()
	p.send(roomJoined(id, "room", 17, 1, true), delivery("room", 16, 9), delivery("room", 17, 16))
	require.Equal(t, []uint64{16, 17}, seqs(t, got, 2))
}

func TestReconnectContinuesTheStream(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	zero := uint64(0)
	room := enter(t, client, p, parley.JoinOptions{AfterSeq: &zero})
	got := consume(t, room)
	p.send(delivery("room", 1, 0), delivery("room", 2, 1))
	require.Equal(t, []uint64{1, 2}, seqs(t, got, 2))
	p.close(clientv1.CloseCode_CLOSE_CODE_SLOW)
	p = s.accept()
	cursor := p.hello().GetRooms()[0]
	require.Equal(t, uint64(2), cursor.GetAfterSeq())
	require.Equal(t, "id-2", cursor.GetAfterMessageId())
	require.Equal(t, uint64(1), cursor.GetIncarnation())
	p.session("token-2", "me", true)
	p.send(roomJoined(0, "room", 4, 1, true), delivery("room", 3, 2), delivery("room", 4, 3), delivery("room", 4, 3))
	require.Equal(t, []uint64{3, 4}, seqs(t, got, 2))
}

func TestResets(t *testing.T) {
	t.Parallel()
	for _, reason := range []parley.ResetReason{parley.Rewound, parley.Trimmed, parley.ReplayLimit} {
		s := newServer(t)
		client, p := dial(t, s, fast())
		room := enter(t, client, p, parley.JoinOptions{})
		got := consume(t, room)
		p.send(delivery("room", 11, 10))
		require.Equal(t, []uint64{11}, seqs(t, got, 1))
		p.cut()

		// Cut off between room_joined and reset, the client must still present its old incarnation.
		p = s.accept()
		p.hello()
		p.session("token-2", "me", true)
		p.send(roomJoined(0, "room", 40, 2, false))
		require.Eventually(t, func() bool { return room.Head() == 40 }, patience, time.Millisecond)
		p.cut()
		p = s.accept()
		require.Equal(t, uint64(1), p.hello().GetRooms()[0].GetIncarnation())
		p.session("token-3", "me", true)
		p.send(roomJoined(0, "room", 40, 2, false), reset("room", 38, reason), delivery("room", 39, 38))
		var resetErr *parley.ResetError
		require.ErrorAs(t, await(t, got).err, &resetErr)
		require.Equal(t, &parley.ResetError{RoomID: "room", Seq: 38, Reason: reason}, resetErr)
		next := await(t, got)
		require.Equal(t, uint64(39), next.msg.Seq)
		require.Equal(t, parley.Cursor{Seq: 39, MessageID: "id-39", Incarnation: 2}, next.msg.Cursor())
		require.Equal(t, next.msg.Cursor(), room.Cursor())
	}
}

func TestCursorResumesInAnotherProcess(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	stored, err := json.Marshal(parley.Cursor{Seq: 7, MessageID: "id-7", Incarnation: 1})
	require.NoError(t, err)
	var cursor parley.Cursor
	require.NoError(t, json.Unmarshal(stored, &cursor))
	client, p := dial(t, s, fast())
	result := make(chan error, 1)
	go func() {
		_, err := client.Join(context.Background(), "room", parley.JoinOptions{Cursor: &cursor})
		result <- err
	}()
	j, id := p.join()
	require.Equal(t, uint64(7), j.GetAfterSeq())
	require.Equal(t, "id-7", j.GetAfterMessageId())
	require.Equal(t, uint64(1), j.GetIncarnation())
	p.send(roomJoined(id, "room", 10, 1, true))
	require.NoError(t, await(t, result))
}

func TestSlowConsumerLosesNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{Buffer: 4})
	for seq := uint64(11); seq <= 30; seq++ {
		p.send(delivery("room", seq, seq-1))
	}
	// With nobody consuming, answers get through nevertheless.
	result := publish(t.Context(), room, "hello", "id-x")
	m, id := p.message()
	p.send(ack(id, m, 31, false))
	require.NoError(t, await(t, result).err)
	p.send(delivery("room", 31, 30))
	p.silence(50 * time.Millisecond)

	// Now the consumer comes: after half of the buffer the rest is asked for.
	got := consume(t, room)
	next := uint64(11)
	for next <= 31 {
		j, id := p.join()
		p.send(roomJoined(id, "room", 31, 1, true))
		from := j.GetAfterSeq()
		for seq := from + 1; seq <= 31; seq++ {
			p.send(delivery("room", seq, seq-1))
		}
		for ; next <= 31; next++ {
			select {
			case c := <-got:
				require.NoError(t, c.err)
				require.Equal(t, next, c.msg.Seq)
				continue
			case env := <-p.frames: // it lagged again
				j := env.GetJoinRoom()
				require.NotNil(t, j)
				p.send(roomJoined(env.GetId(), "room", 31, 1, true))
				for seq := j.GetAfterSeq() + 1; seq <= 31; seq++ {
					p.send(delivery("room", seq, seq-1))
				}
				next--
			case <-time.After(patience):
				t.Fatalf("message %d did not come", next)
			}
		}
	}
}

func TestSlowConsumerOverAReconnect(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{Buffer: 2})
	for seq := uint64(11); seq <= 20; seq++ {
		p.send(delivery("room", seq, seq-1))
	}
	// The stall is over when an answer gets through.
	result := publish(t.Context(), room, "hello", "id-x")
	m, id := p.message()
	p.send(ack(id, m, 21, false))
	require.NoError(t, await(t, result).err)
	p.close(clientv1.CloseCode_CLOSE_CODE_SLOW)
	p = s.accept()
	require.Nil(t, p.hello().GetRooms()[0].AfterSeq, "what would be replayed now would be dropped")
	p.session("token-2", "me", true)
	p.send(roomJoined(0, "room", 21, 1, false))
	got := consume(t, room)
	require.Equal(t, []uint64{11, 12}, seqs(t, got, 2))
	j, id := p.join()
	require.Equal(t, uint64(12), j.GetAfterSeq())
	p.send(roomJoined(id, "room", 21, 1, true), delivery("room", 13, 12))
	require.Equal(t, []uint64{13}, seqs(t, got, 1))
}

func TestABlockedConsumerThatPublishesIsNotStuck(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{Buffer: 2})
	failed := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for m, err := range room.Messages(ctx) {
			if err == nil {
				_, err = room.Publish(ctx, "answer to "+m.Content, parley.PublishOptions{})
			}
			if err != nil || m.Seq == 14 {
				failed <- err
				return
			}
		}
	}()
	for seq := uint64(11); seq <= 20; seq++ {
		p.send(delivery("room", seq, seq-1))
	}
	// The answer to the first message waits behind more messages than the buffer holds.
	for {
		select {
		case err := <-failed:
			require.NoError(t, err)
			return
		case env := <-p.frames:
			if m := env.GetMessage(); m != nil {
				p.send(ack(env.GetId(), m, 100, false))
			}
			if j := env.GetJoinRoom(); j != nil {
				p.send(roomJoined(env.GetId(), "room", 20, 1, true))
				for seq := j.GetAfterSeq() + 1; seq <= 20; seq++ {
					p.send(delivery("room", seq, seq-1))
				}
			}
		case <-time.After(patience):
			t.Fatal("stuck")
		}
	}
}

func TestMessagesEndsAndGoesOn(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{})
	for seq := uint64(11); seq <= 13; seq++ {
		p.send(delivery("room", seq, seq-1))
	}
	want := uint64(11)
	for range 3 {
		for m, err := range room.Messages(t.Context()) {
			require.NoError(t, err)
			require.Equal(t, want, m.Seq)
			require.Equal(t, fmt.Sprint("message ", want), m.Content)
			want++
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range room.Messages(ctx) {
		require.ErrorIs(t, err, context.Canceled)
	}
}

func TestHistoryAndPresence(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{})

	type page struct {
		parley.Page
		err error
	}
	result := make(chan page, 1)
	after := uint64(3)
	go func() {
		got, err := room.History(t.Context(), parley.HistoryOptions{AfterSeq: &after, Limit: 900})
		result <- page{got, err}
	}()
	env := p.next()
	require.Equal(t, uint64(3), env.GetHistory().GetAfterSeq())
	require.Nil(t, env.GetHistory().BeforeSeq)
	require.Equal(t, uint32(500), env.GetHistory().GetLimit())
	p.send(refusal(env.GetId(), parley.CodeBusy, "room", "", true, 0))
	p.next()
	p.cut() // asked again on the next connection
	p, _ = resume(t, s, "token-2")
	env = p.next()
	require.NotNil(t, env.GetHistory())
	p.send(&clientv1.Envelope{Id: env.GetId(), Kind: &clientv1.Envelope_HistoryPage{HistoryPage: &clientv1.HistoryPage{
		RoomId: "room", More: true,
		Messages: []*clientv1.Message{delivery("room", 4, 3).GetMessage(), delivery("room", 5, 4).GetMessage()},
	}}})
	got := await(t, result)
	require.NoError(t, got.err)
	require.True(t, got.More)
	require.Len(t, got.Messages, 2)
	require.Equal(t, "message 5", got.Messages[1].Content)
	require.Equal(t, "room", got.Messages[1].RoomID)

	go func() {
		got, err := room.History(t.Context(), parley.HistoryOptions{BeforeSeq: 9})
		result <- page{got, err}
	}()
	env = p.next()
	require.Equal(t, uint64(9), env.GetHistory().GetBeforeSeq())
	p.send(refusal(env.GetId(), parley.CodeForbidden, "room", "", false, 0))
	var refused *parley.Error
	require.ErrorAs(t, await(t, result).err, &refused)

	presence := make(chan parley.Presence, 1)
	go func() {
		got, err := room.Presence(t.Context())
		if err != nil {
			t.Error(err)
		}
		presence <- got
	}()
	env = p.next()
	require.Equal(t, "room", env.GetPresence().GetRoomId())
	p.send(&clientv1.Envelope{Id: env.GetId(), Kind: &clientv1.Envelope_PresenceState{PresenceState: &clientv1.PresenceState{
		RoomId: "room", Count: 2, Members: []*clientv1.PresentMember{{MemberId: "me", Connections: 1}, {MemberId: "you", Connections: 3}},
	}}})
	require.Equal(t, parley.Presence{RoomID: "room", Count: 2, Members: []parley.PresentMember{{"me", 1}, {"you", 3}}}, await(t, presence))

	_, err := room.History(t.Context(), parley.HistoryOptions{Limit: -1})
	require.ErrorAs(t, err, &refused)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = room.Presence(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestSignalsAndMembers(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	signals := make(chan parley.Signal, 1)
	members := make(chan parley.MemberEvent, 2)
	room := enter(t, client, p, parley.JoinOptions{
		OnSignal: func(s parley.Signal) { signals <- s },
		OnMember: func(e parley.MemberEvent) { members <- e },
	})
	p.send(
		&clientv1.Envelope{Kind: &clientv1.Envelope_Signal{Signal: &clientv1.Signal{Target: "room", Type: "typing", Content: "…", Sender: "you"}}},
		&clientv1.Envelope{Kind: &clientv1.Envelope_MemberJoined{MemberJoined: &clientv1.MemberJoined{RoomId: "room", MemberId: "you"}}},
		&clientv1.Envelope{Kind: &clientv1.Envelope_MemberLeft{MemberLeft: &clientv1.MemberLeft{RoomId: "room", MemberId: "you"}}},
	)
	require.Equal(t, parley.Signal{RoomID: "room", Type: "typing", Content: "…", Sender: "you"}, await(t, signals))
	require.Equal(t, parley.MemberEvent{RoomID: "room", MemberID: "you", Joined: true}, await(t, members))
	require.Equal(t, parley.MemberEvent{RoomID: "room", MemberID: "you"}, await(t, members))

	require.NoError(t, room.Signal(t.Context(), "typing", "yes"))
	env := p.next()
	require.Equal(t, "typing", env.GetSignal().GetType())
	require.Equal(t, "yes", env.GetSignal().GetContent())
	// Its refusal is not taken for the room's.
	p.send(refusal(env.GetId(), parley.CodeForbidden, "room", "", false, 0))
	result := publish(t.Context(), room, "hello", "")
	m, id := p.message()
	p.send(ack(id, m, 11, false))
	require.NoError(t, await(t, result).err)

	var refused *parley.Error
	require.ErrorAs(t, room.Signal(t.Context(), "\xff", ""), &refused)
	p.cut()
	require.Eventually(t, func() bool {
		return client.State() != parley.Connected
	}, patience, time.Millisecond)
	require.ErrorIs(t, room.Signal(t.Context(), "typing", ""), parley.ErrNotConnected)
}

func TestAResetBehindAFullBufferIsMetAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{Buffer: 2})
	for _, frame := range []*clientv1.Envelope{
		delivery("room", 11, 10), delivery("room", 12, 11), reset("room", 30, parley.ReplayLimit), delivery("room", 31, 30),
		reset("room", 40, parley.ReplayLimit),
	} {
		p.send(frame)
	}
	// When an answer gets through, the buffer has been given up.
	result := publish(t.Context(), room, "hello", "id-x")
	m, id := p.message()
	p.send(ack(id, m, 41, false))
	require.NoError(t, await(t, result).err)
	got := consume(t, room)
	require.Equal(t, []uint64{11, 12}, seqs(t, got, 2))
	j, id := p.join()
	require.Equal(t, uint64(12), j.GetAfterSeq())
	p.send(roomJoined(id, "room", 41, 1, false), reset("room", 41, parley.ReplayLimit), delivery("room", 42, 41))
	var resetErr *parley.ResetError
	err := await(t, got).err
	require.ErrorAs(t, err, &resetErr)
	require.Equal(t, uint64(41), resetErr.Seq)
	require.EqualError(t, err, "stream of room room was reset to 41: replay_limit")
	require.Equal(t, []uint64{42}, seqs(t, got, 1))
}

func TestARefusedLeaveLeavesTheClientsSide(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cfg := fast()
	cfg.AnswerTimeout = 200 * time.Millisecond
	client, p := dial(t, s, cfg)
	room := enter(t, client, p, parley.JoinOptions{})
	require.Equal(t, "room", room.ID())
	left := make(chan error, 1)
	go func() { left <- room.Leave(context.Background()) }()
	env := p.next()
	p.send(refusal(env.GetId(), parley.CodeUnavailable, "room", "", true, 0))
	env = p.next() // asked again
	require.NotNil(t, env.GetLeaveRoom())
	p.send(refusal(env.GetId(), parley.CodeForbidden, "room", "", false, 0))
	require.NoError(t, await(t, left))
}

func TestAbandonedCallsAndLateAnswers(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := room.History(ctx, parley.HistoryOptions{})
		result <- err
	}()
	env := p.next()
	cancel()
	require.ErrorIs(t, await(t, result), context.Canceled)
	p.send(&clientv1.Envelope{Id: env.GetId(), Kind: &clientv1.Envelope_HistoryPage{HistoryPage: &clientv1.HistoryPage{RoomId: "room"}}})
	// And a call that is waiting when the Client ends.
	go func() {
		_, err := room.Presence(t.Context())
		result <- err
	}()
	p.next()
	p.close(clientv1.CloseCode_CLOSE_CODE_SESSION_REPLACED)
	var closed *parley.CloseError
	require.ErrorAs(t, await(t, result), &closed)
	require.EqualError(t, closed, "server closed the connection: SESSION_REPLACED (4504)")
}
