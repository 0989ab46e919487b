package api

import (
	"context"
	"net/http"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	grpccodes "google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-rt/parley/libs/actorkit/ask"
	adminv1 "github.com/parley-rt/parley/libs/protocol/admin/v1"
	"github.com/parley-rt/parley/libs/protocol/admin/v1/adminv1connect"
	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// JSON has the fields' own names, zero values included, and reads both spellings.
func TestJSON(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.rooms.says(&roomv1.Frame{Kind: &roomv1.Frame_Description{Description: &roomv1.Description{
		Settings: &journalv1.Settings{Join: journalv1.Level_LEVEL_INVITED, RetentionAge: durationpb.New(time.Hour)},
		Head:     1 << 60, Node: "rooms-2", Online: 0, Bans: 2,
	}}}, nil)
	for _, body := range []string{`{"room_id":"lobby"}`, `{"roomId":"lobby"}`} {
		a := b.call("GetRoom", body)
		require.Equal(t, http.StatusOK, a.status, a.text)
		require.JSONEq(t, `{"room": {
			"room_id": "lobby", "node": "rooms-2", "head": "1152921504606846976", "last_message_seq": "0", "trimmed": "0",
			"epoch": "0", "incarnation": "0", "settings_seq": "0",
			"members": 0, "online": 0, "bans": 2, "mutes": 0, "invitations": 0,
			"settings": {"join": "LEVEL_INVITED", "publish": "LEVEL_ANYONE", "history": "LEVEL_ANYONE", "presence_events": false,
				"retention_age": "3600s", "retention_count": "0", "max_content_bytes": 0}
		}}`, a.text)
		require.Equal(t, "lobby", b.rooms.last(t).GetRoomId())
	}
	a := b.call("GetRoom", `{"room_id":"lobby"}`, func(r *http.Request) { r.Header.Set("Content-Type", "application/json; charset=utf-8") })
	require.Equal(t, http.StatusOK, a.status, a.text)
}

// The same handlers over the three protocols, each with the client's own idea of an error.
func TestProtocols(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]connect.ClientOption{
		"connect":      nil,
		"connect json": {connect.WithProtoJSON()},
		"grpc":         {connect.WithGRPC()},
		"grpc json":    {connect.WithGRPC(), connect.WithProtoJSON()},
		"grpc-web":     {connect.WithGRPCWeb()},
		"gzip":         {connect.WithSendGzip()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, withTokens)
			transport := &http.Transport{Protocols: new(http.Protocols)}
			transport.Protocols.SetUnencryptedHTTP2(true)
			defer transport.CloseIdleConnections()
			client := adminv1connect.NewRoomServiceClient(&http.Client{Transport: transport}, "http://"+b.api.Addr(), options...)

			_, err := client.GetRoom(t.Context(), &adminv1.GetRoomRequest{RoomId: "r"})
			require.Equal(t, connect.CodeUnauthenticated, connect.CodeOf(err), "%v", err)

			ctx, call := connect.NewClientContext(t.Context())
			call.RequestHeader().Set("Authorization", "Bearer "+token(t))
			b.rooms.says(administered(), nil)
			res, err := client.Ban(ctx, &adminv1.BanRequest{RoomId: "r", MemberId: "m", OperationId: "op", Reason: "spam", Lasting: durationpb.New(time.Minute)})
			require.NoError(t, err)
			require.EqualValues(t, 7, res.GetSeq())
			got := b.rooms.last(t).GetAdminister()
			require.Equal(t, "op", got.GetOperationId())
			require.Equal(t, "spam", got.GetBan().GetReason())
			require.Equal(t, time.Minute, got.GetBan().GetLasting().AsDuration())

			ctx, call = connect.NewClientContext(t.Context())
			call.RequestHeader().Set("Authorization", "Bearer "+token(t))
			_, err = client.Ban(ctx, &adminv1.BanRequest{RoomId: "a b", MemberId: "m"})
			var told *connect.Error
			require.ErrorAs(t, err, &told)
			require.Equal(t, connect.CodeInvalidArgument, told.Code())
			require.Equal(t, "room_id", violations(t, told)[0].GetField())
		})
	}
}

func violations(t testing.TB, e *connect.Error) []*errdetails.BadRequest_FieldViolation {
	t.Helper()
	for _, d := range e.Details() {
		value, err := d.Value()
		require.NoError(t, err)
		if bad, ok := value.(*errdetails.BadRequest); ok {
			return bad.GetFieldViolations()
		}
	}
	return nil
}

// A client that knows gRPC and nothing of Connect.
func TestGRPC(t *testing.T) {
	t.Parallel()
	b := setup(t, withTokens)
	conn, err := grpc.NewClient(b.api.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token(t))

	b.rooms.says(description(), nil)
	res := new(adminv1.GetRoomResponse)
	require.NoError(t, conn.Invoke(ctx, adminv1connect.RoomServiceGetRoomProcedure, &adminv1.GetRoomRequest{RoomId: "r"}, res))
	require.Equal(t, "rooms-1", res.GetRoom().GetNode())

	err = conn.Invoke(t.Context(), adminv1connect.RoomServiceGetRoomProcedure, &adminv1.GetRoomRequest{RoomId: "r"}, res)
	require.Equal(t, grpccodes.Unauthenticated, status.Code(err))

	b.rooms.says(nil, ask.ErrUnreachable)
	err = conn.Invoke(ctx, adminv1connect.RoomServiceGetRoomProcedure, &adminv1.GetRoomRequest{RoomId: "r"}, res)
	require.Equal(t, grpccodes.Unavailable, status.Code(err))
	var retry *errdetails.RetryInfo
	for _, d := range status.Convert(err).Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			retry = r
		}
	}
	require.Equal(t, time.Second, retry.GetRetryDelay().AsDuration())

	// The caller's own deadline ends the question.
	b.rooms.mu.Lock()
	b.rooms.answer = func(ctx context.Context, _ *roomv1.Frame) (*roomv1.Frame, error) {
		<-ctx.Done()
		return nil, ask.ErrUnanswered
	}
	b.rooms.mu.Unlock()
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	err = conn.Invoke(short, adminv1connect.RoomServiceGetRoomProcedure, &adminv1.GetRoomRequest{RoomId: "r"}, res)
	require.Equal(t, grpccodes.DeadlineExceeded, status.Code(err))
}

// What each method asks of a room, and what it makes of the answer.
func TestMethods(t *testing.T) {
	t.Parallel()
	at := timestamppb.New(time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC))
	done := func(a *roomv1.Administered) *roomv1.Frame {
		return &roomv1.Frame{Kind: &roomv1.Frame_Administered{Administered: a}}
	}
	listed := &roomv1.Frame{Kind: &roomv1.Frame_Listed{Listed: &roomv1.Listed{More: true, Members: []*roomv1.ListedMember{
		{MemberId: "a", Seq: 3, Actor: "ops", Reason: "spam", At: at, ExpiresAt: at, Moderator: true, Sessions: 2, Connections: 1},
	}}}}
	for name, c := range map[string]struct {
		method, body string
		says         *roomv1.Frame
		asked        string // the frame as JSON
		answer       string
	}{
		"ban": {
			"Ban", `{"room_id":"r","operation_id":"op","member_id":"m","reason":"spam","lasting":"600s"}`,
			done(&roomv1.Administered{Seq: 9, Changed: true, ExpiresAt: at}),
			`{"room_id":"r","administer":{"actor":"anonymous","operation_id":"op","ban":{"member_id":"m","reason":"spam","lasting":"600s"}}}`,
			`{"seq":"9","changed":true,"duplicate":false,"expires_at":"2026-05-04T12:00:00Z"}`,
		},
		"ban for good": {
			"Ban", `{"room_id":"r","operation_id":"op","member_id":"m"}`, done(&roomv1.Administered{Seq: 9, Duplicate: true}),
			`{"room_id":"r","administer":{"actor":"anonymous","operation_id":"op","ban":{"member_id":"m"}}}`,
			`{"seq":"9","changed":false,"duplicate":true}`,
		},
		"unban": {
			"Unban", `{"room_id":"r","operation_id":"op","member_id":"m"}`, done(&roomv1.Administered{}),
			`{"room_id":"r","administer":{"actor":"anonymous","operation_id":"op","unban":{"member_id":"m"}}}`,
			`{"seq":"0","changed":false,"duplicate":false}`,
		},
		"kick": {
			"Kick", `{"room_id":"r","operation_id":"op","member_id":"m","reason":"bye"}`, done(&roomv1.Administered{Seq: 1, Changed: true}),
			`{"room_id":"r","administer":{"actor":"anonymous","operation_id":"op","kick":{"member_id":"m","reason":"bye"}}}`,
			`{"seq":"1","changed":true,"duplicate":false}`,
		},
		"mute": {
			"Mute", `{"room_id":"r","operation_id":"op","member_id":"m","lasting":"1.5s"}`, done(&roomv1.Administered{Seq: 1, ExpiresAt: at}),
			`{"room_id":"r","administer":{"actor":"anonymous","operation_id":"op","mute":{"member_id":"m","lasting":"1.500s"}}}`,
			`{"seq":"1","changed":false,"duplicate":false,"expires_at":"2026-05-04T12:00:00Z"}`,
		},
		"unmute": {
			"Unmute", `{"room_id":"r","operation_id":"op","member_id":"m"}`, done(&roomv1.Administered{Seq: 4}),
			`{"room_id":"r","administer":{"actor":"anonymous","operation_id":"op","unmute":{"member_id":"m"}}}`,
			`{"seq":"4","changed":false,"duplicate":false}`,
		},
		"invite": {
			"Invite", `{"room_id":"r","operation_id":"op","member_id":"m","moderator":true}`, done(&roomv1.Administered{Seq: 4, Changed: true}),
			`{"room_id":"r","administer":{"actor":"anonymous","operation_id":"op","invite":{"member_id":"m","moderator":true}}}`,
			`{"seq":"4","changed":true,"duplicate":false}`,
		},
		"uninvite": {
			"Uninvite", `{"room_id":"r","operation_id":"op","member_id":"m"}`, done(&roomv1.Administered{Seq: 4, Changed: true}),
			`{"room_id":"r","administer":{"actor":"anonymous","operation_id":"op","uninvite":{"member_id":"m"}}}`,
			`{"seq":"4","changed":true,"duplicate":false}`,
		},
		"settings, all": {
			"UpdateSettings", `{"room_id":"r","operation_id":"op","join":"LEVEL_INVITED","publish":"LEVEL_MODERATORS","history":"LEVEL_NOBODY",
				"presence_events":true,"retention_age":"3600s","retention_count":"1000","max_content_bytes":512,
				"message_rate":{"per_second":0.5,"burst":10},"byte_rate":{"per_second":1000}}`,
			done(&roomv1.Administered{Seq: 4, Changed: true, Settings: &journalv1.Settings{
				Publish: journalv1.Level_LEVEL_MODERATORS, MessageRate: &journalv1.Rate{PerSecond: 0.5, Burst: 10},
			}}),
			`{"room_id":"r","administer":{"actor":"anonymous","operation_id":"op","change_settings":{"join":"LEVEL_INVITED",
				"publish":"LEVEL_MODERATORS","history":"LEVEL_NOBODY","presence_events":true,"retention_age":"3600s","retention_count":"1000",
				"max_content_bytes":512,"message_rate":{"per_second":0.5,"burst":10},"byte_rate":{"per_second":1000}}}}`,
			`{"seq":"4","changed":true,"duplicate":false,"settings":{"join":"LEVEL_ANYONE","publish":"LEVEL_MODERATORS","history":"LEVEL_ANYONE",
				"presence_events":false,"retention_count":"0","max_content_bytes":0,"message_rate":{"per_second":0.5,"burst":10}}}`,
		},
		"settings, taking limits away": {
			"UpdateSettings", `{"room_id":"r","operation_id":"op","join":"LEVEL_ANYONE","presence_events":false,"retention_age":"0s","retention_count":0,"max_content_bytes":0,
				"message_rate":{}}`,
			done(&roomv1.Administered{Seq: 4, Duplicate: true}),
			`{"room_id":"r","administer":{"actor":"anonymous","operation_id":"op","change_settings":{"join":"LEVEL_ANYONE","presence_events":false,
				"retention_age":"0s","retention_count":"0","max_content_bytes":0,"message_rate":{}}}}`,
			`{"seq":"4","changed":false,"duplicate":true}`,
		},
		"members": {
			"ListMembers", `{"room_id":"r","page_size":5000,"page_token":"YQ"}`, listed,
			`{"room_id":"r","list":{"listing":"LISTING_MEMBERS","after_member_id":"a","limit":1000}}`,
			`{"members":[{"member_id":"a","sessions":2,"connections":1}],"next_page_token":"YQ"}`,
		},
		"bans": {
			"ListBans", `{"room_id":"r"}`, listed, `{"room_id":"r","list":{"listing":"LISTING_BANS","limit":100}}`,
			`{"bans":[{"member_id":"a","seq":"3","actor":"ops","reason":"spam","at":"2026-05-04T12:00:00Z","expires_at":"2026-05-04T12:00:00Z"}],"next_page_token":"YQ"}`,
		},
		"mutes, the last page": {
			"ListMutes", `{"room_id":"r","page_size":7}`, &roomv1.Frame{Kind: &roomv1.Frame_Listed{Listed: &roomv1.Listed{}}},
			`{"room_id":"r","list":{"listing":"LISTING_MUTES","limit":7}}`, `{"mutes":[],"next_page_token":""}`,
		},
		"invitations": {
			"ListInvitations", `{"room_id":"r"}`, listed, `{"room_id":"r","list":{"listing":"LISTING_INVITATIONS","limit":100}}`,
			`{"invitations":[{"member_id":"a","seq":"3","moderator":true,"actor":"ops","at":"2026-05-04T12:00:00Z"}],"next_page_token":"YQ"}`,
		},
		"publish": {
			"Publish", `{"room_id":"r","sender":"bot","content":"hello","message_id":"m1","sent_at":"2026-05-04T12:00:00Z"}`,
			&roomv1.Frame{Kind: &roomv1.Frame_Published{Published: &roomv1.Published{Outcomes: []*roomv1.Outcome{{Seq: 12, Duplicate: true}}}}},
			`{"room_id":"r","publish":{"member_id":"bot","unchecked":true,"drafts":[{"message_id":"m1","content":"hello","sent_at":"2026-05-04T12:00:00Z"}]}}`,
			`{"seq":"12","message_id":"m1","duplicate":true}`,
		},
		"history": {
			"History", `{"room_id":"r","after_seq":0,"limit":9999}`,
			&roomv1.Frame{Kind: &roomv1.Frame_Page{Page: &roomv1.Page{More: true, Head: 9, Trimmed: 2, Messages: []*roomv1.Message{
				{Seq: 4, PrevSeq: 3, Sender: "ada", MessageId: "m", Content: "hi", SentAt: at, Traceparent: "hidden"},
			}}}},
			`{"room_id":"r","read":{"after_seq":"0","limit":500,"max_bytes":1048576}}`,
			`{"messages":[{"seq":"4","prev_seq":"3","sender":"ada","message_id":"m","content":"hi","sent_at":"2026-05-04T12:00:00Z"}],"more":true,"head":"9","trimmed":"2"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.rooms.says(c.says, nil)
			a := b.call(c.method, c.body)
			require.Equal(t, http.StatusOK, a.status, a.text)
			require.JSONEq(t, c.asked, frameText(t, b.rooms.last(t)))
			require.JSONEq(t, c.answer, a.text)

			// An answer of another kind, or none, is not taken for one.
			b.rooms.says(&roomv1.Frame{Kind: &roomv1.Frame_Left{Left: &roomv1.Left{}}}, nil)
			require.Equal(t, http.StatusInternalServerError, b.call(c.method, c.body).status)
			b.rooms.says(nil, ask.ErrUnanswered)
			require.Equal(t, http.StatusGatewayTimeout, b.call(c.method, c.body).status)
		})
	}
}

// Ids that a caller leaves out are filled in, anew for each request, so that the request's own retries are recognised.
func TestIdsAreFilledIn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.rooms.says(administered(), nil)
	seen := map[string]bool{}
	for range 3 {
		b.call("Kick", `{"room_id":"r","member_id":"m"}`)
		seen[b.rooms.last(t).GetAdminister().GetOperationId()] = true
	}
	b.rooms.says(&roomv1.Frame{Kind: &roomv1.Frame_Published{Published: &roomv1.Published{Outcomes: []*roomv1.Outcome{{Seq: 1}}}}}, nil)
	began := time.Now()
	a := b.call("Publish", `{"room_id":"r","sender":"s"}`)
	draft := b.rooms.last(t).GetPublish().GetDrafts()[0]
	require.Equal(t, draft.GetMessageId(), a.body["message_id"])
	require.WithinRange(t, draft.GetSentAt().AsTime(), began.Add(-time.Second), time.Now().Add(time.Second))
	seen[draft.GetMessageId()] = true
	require.Len(t, seen, 4)
	require.NotContains(t, seen, "")
}

// Rooms that were never used are not begun by being looked at.
func TestUnusedRooms(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.rooms.unused = true
	b.rooms.says(administered(), nil)
	for _, method := range []string{"GetRoom", "ListMembers", "ListBans", "ListMutes", "ListInvitations", "History"} {
		a := b.call(method, `{"room_id":"r"}`)
		require.Equal(t, http.StatusNotFound, a.status, method)
		require.Equal(t, "ROOM_NOT_FOUND", a.debug("ErrorInfo")["reason"])
	}
	require.Zero(t, b.rooms.count())
	require.Equal(t, http.StatusOK, b.call("Ban", `{"room_id":"r","member_id":"m"}`).status, "before anybody comes")
}
