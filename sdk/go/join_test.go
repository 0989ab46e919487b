package parley_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/sdk/go"
)

func TestJoinRefusals(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	zero := uint64(0)
	var refused *parley.Error
	for _, bad := range []struct {
		room string
		opts parley.JoinOptions
		code parley.Code
	}{
		{"", parley.JoinOptions{}, parley.CodeInvalidRoom},
		{"ro om", parley.JoinOptions{}, parley.CodeInvalidRoom},
		{"room", parley.JoinOptions{AfterSeq: &zero, Cursor: &parley.Cursor{}}, parley.CodeInvalidArgument},
		{"room", parley.JoinOptions{Buffer: -1}, parley.CodeInvalidArgument},
		{"room", parley.JoinOptions{Cursor: &parley.Cursor{MessageID: "\xff"}}, parley.CodeInvalidArgument},
	} {
		_, err := client.Join(t.Context(), bad.room, bad.opts)
		require.ErrorAs(t, err, &refused)
		require.Equal(t, bad.code, refused.Code)
	}

	join := func() <-chan error {
		out := make(chan error, 1)
		go func() {
			_, err := client.Join(t.Context(), "room", parley.JoinOptions{})
			out <- err
		}()
		return out
	}
	result := join()
	_, id := p.join()
	p.send(refusal(id, parley.CodeUnavailable, "room", "", true, 0))
	_, id = p.join()
	p.send(refusal(id, parley.CodeForbidden, "room", "", false, 0))
	require.ErrorAs(t, await(t, result), &refused)
	require.Equal(t, parley.CodeForbidden, refused.Code)

	result = join()
	_, id = p.join()
	p.send(roomJoined(id, "room", 10, 1, false))
	require.NoError(t, await(t, result))
	require.ErrorIs(t, await(t, join()), parley.ErrJoined)
}

func TestJoinEndsWithItsContextAndLeaves(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := client.Join(ctx, "room", parley.JoinOptions{})
		result <- err
	}()
	_, id := p.join()
	cancel()
	require.ErrorIs(t, await(t, result), context.Canceled)
	p.send(roomJoined(id, "room", 10, 1, false))
	left := p.next()
	require.Equal(t, "room", left.GetLeaveRoom().GetRoomId())
	p.send(&clientv1.Envelope{Id: left.GetId(), Kind: &clientv1.Envelope_RoomLeft{RoomLeft: &clientv1.RoomLeft{RoomId: "room"}}})
}

func TestRoomRefusedOnReconnect(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{})
	got := consume(t, room)
	p.cut()
	p = s.accept()
	p.hello()
	p.session("token-2", "me", true)
	p.send(refusal(0, parley.CodeUnavailable, "room", "", true, 0))
	_, id := p.join()
	p.send(refusal(id, parley.CodeBanned, "room", "", false, 0))
	var refused *parley.Error
	require.ErrorAs(t, await(t, got).err, &refused)
	require.Equal(t, parley.CodeBanned, refused.Code)
	_, err := room.Publish(t.Context(), "hello", parley.PublishOptions{})
	require.ErrorAs(t, err, &refused)
	require.NoError(t, client.Err())
}

func TestRemovalFromARoom(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	left := func(reason, message string, after uint32) *clientv1.Envelope {
		return &clientv1.Envelope{Kind: &clientv1.Envelope_RoomLeft{RoomLeft: &clientv1.RoomLeft{
			RoomId: "room", Reason: reason, Message: message, RetryAfterMs: after,
		}}}
	}
	for _, test := range []struct {
		frame *clientv1.Envelope
		want  parley.Error
	}{
		{refusal(0, parley.CodeBanned, "room", "", false, 0), parley.Error{Code: parley.CodeBanned, Message: "no", RoomID: "room"}},
		{left("", "", 0), parley.Error{Code: parley.CodeNotJoined, Message: "the server removed this member from the room", RoomID: "room"}},
		{left("kicked", "be nice", 0), parley.Error{Code: parley.CodeNotJoined, Message: "be nice", RoomID: "room"}},
		{left("banned", "spam", 1500), parley.Error{Code: parley.CodeBanned, Message: "spam", RoomID: "room", RetryAfter: 1500 * time.Millisecond}},
		{left("forbidden", "private now", 0), parley.Error{Code: parley.CodeForbidden, Message: "private now", RoomID: "room"}},
	} {
		room := enter(t, client, p, parley.JoinOptions{})
		got := consume(t, room)
		p.send(delivery("room", 11, 10), test.frame)
		require.Equal(t, []uint64{11}, seqs(t, got, 1), "what came before is still yielded")
		var refused *parley.Error
		require.ErrorAs(t, await(t, got).err, &refused)
		require.Equal(t, test.want, *refused)
	}
}

// A gateway may hear that a member has left before it hears the answer to its leave: it then says so twice, and the second time
// means nothing for a room that has been joined again.
func TestAnswerToALeaveDoesNotEndTheNextRoom(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{})
	left := make(chan error, 1)
	go func() { left <- room.Leave(context.Background()) }()
	leave := p.next()
	roomLeft := func(id uint32) *clientv1.Envelope {
		return &clientv1.Envelope{Id: id, Kind: &clientv1.Envelope_RoomLeft{RoomLeft: &clientv1.RoomLeft{RoomId: "room"}}}
	}
	p.send(roomLeft(0))
	require.NoError(t, await(t, left))
	joined := make(chan *parley.Room, 1)
	go func() {
		again, err := client.Join(context.Background(), "room", parley.JoinOptions{})
		if err != nil {
			t.Error(err)
		}
		joined <- again
	}()
	_, id := p.join()
	p.send(roomLeft(leave.GetId()), roomJoined(id, "room", 10, 1, false))
	again := await(t, joined)
	require.NotNil(t, again)
	result := publish(t.Context(), again, "hello", "id-1")
	m, id := p.message()
	p.send(ack(id, m, 11, false))
	require.NoError(t, await(t, result).err)
}

func TestLeave(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{})
	got := consume(t, room)
	result := publish(t.Context(), room, "hello", "id-1")
	p.message()
	p.cut()

	// A leave while there is no connection is carried out on the next one, which does not join the room again.
	require.Eventually(t, func() bool { return client.State() != parley.Connected }, patience, time.Millisecond)
	left := make(chan error, 1)
	go func() { left <- room.Leave(context.Background()) }()
	require.ErrorIs(t, await(t, result).err, parley.ErrLeft)
	p = s.accept()
	for len(p.hello().GetRooms()) > 0 { // the leave came after this hello
		p.cut()
		p = s.accept()
	}
	p.session("token-2", "me", true)
	p.send(delivery("room", 11, 10)) // the session was still in the room
	leave := p.next()
	require.Equal(t, "room", leave.GetLeaveRoom().GetRoomId())
	p.send(&clientv1.Envelope{Id: leave.GetId(), Kind: &clientv1.Envelope_RoomLeft{RoomLeft: &clientv1.RoomLeft{RoomId: "room"}}})
	require.NoError(t, await(t, left))
	require.ErrorIs(t, await(t, got).err, parley.ErrLeft)
	require.NoError(t, room.Leave(t.Context()))
	_, err := room.Publish(t.Context(), "hello", parley.PublishOptions{})
	require.ErrorIs(t, err, parley.ErrLeft)
	_, err = room.Presence(t.Context())
	require.ErrorIs(t, err, parley.ErrLeft)

	// And the room can be joined again.
	room = enter(t, client, p, parley.JoinOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, room.Leave(ctx), context.Canceled)
}
