package api

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"github.com/parley-rt/parley/libs/opskit/adminapi"
	"github.com/parley-rt/parley/libs/opskit/auth"
	"github.com/parley-rt/parley/libs/protocol/admin/v1/adminv1connect"
)

var errForbidden = errors.New("the token does not allow this in this room")

// moderation is what the capability moderate lets a member do: to act on members and to see whom that concerns. Settings,
// invitations, which can make moderators, and messages in another's name are for administrators.
var moderation = map[string]bool{
	adminv1connect.RoomServiceKickProcedure:        true,
	adminv1connect.RoomServiceBanProcedure:         true,
	adminv1connect.RoomServiceUnbanProcedure:       true,
	adminv1connect.RoomServiceMuteProcedure:        true,
	adminv1connect.RoomServiceUnmuteProcedure:      true,
	adminv1connect.RoomServiceListMembersProcedure: true,
	adminv1connect.RoomServiceListBansProcedure:    true,
	adminv1connect.RoomServiceListMutesProcedure:   true,
}

// authorize lets moderators do what is theirs, in their rooms. Administrators do what they like.
func authorize(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		grants := adminapi.CallerOf(ctx).Moderates
		if grants == nil {
			return next(ctx, req)
		}
		r, ok := req.Any().(interface{ GetRoomId() string })
		if !ok || !moderation[req.Spec().Procedure] || !grants.May(auth.Moderate, r.GetRoomId()) {
			return nil, errForbidden
		}
		return next(ctx, req)
	}
}
