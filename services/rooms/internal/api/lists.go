package api

import (
	"context"

	adminv1 "github.com/parley-rt/parley/libs/protocol/admin/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// pageRequest is what all requests for a list have.
type pageRequest interface {
	GetRoomId() string
	GetPageSize() uint32
	GetPageToken() string
}

const standardPage = 100

// list asks for a page of one of the room's lists and returns it with the token of the next one.
func (s *rooms) list(ctx context.Context, req pageRequest, listing roomv1.Listing) ([]*roomv1.ListedMember, string, error) {
	c := begin(req.GetRoomId())
	after := c.page(req.GetPageToken())
	if err := c.err(); err != nil {
		return nil, "", err
	}
	answer, err := s.read(ctx, &roomv1.Frame{RoomId: req.GetRoomId(), Kind: &roomv1.Frame_List{List: &roomv1.List{
		Listing: listing, AfterMemberId: after, Limit: clamp(req.GetPageSize(), standardPage, maxPage),
	}}})
	if err != nil {
		return nil, "", err
	}
	listed := answer.GetListed()
	if listed == nil {
		return nil, "", unexpected(answer.GetKind())
	}
	members := listed.GetMembers()
	if !listed.GetMore() || len(members) == 0 {
		return members, "", nil
	}
	return members, pageToken(members[len(members)-1].GetMemberId()), nil
}

// ListMembers implements the service.
func (s *rooms) ListMembers(ctx context.Context, req *adminv1.ListMembersRequest) (*adminv1.ListMembersResponse, error) {
	listed, next, err := s.list(ctx, req, roomv1.Listing_LISTING_MEMBERS)
	if err != nil {
		return nil, err
	}
	res := &adminv1.ListMembersResponse{NextPageToken: next}
	for _, m := range listed {
		res.Members = append(res.Members, &adminv1.Member{
			MemberId: m.GetMemberId(), Sessions: m.GetSessions(), Connections: m.GetConnections(),
		})
	}
	return res, nil
}

// ListBans implements the service.
func (s *rooms) ListBans(ctx context.Context, req *adminv1.ListBansRequest) (*adminv1.ListBansResponse, error) {
	listed, next, err := s.list(ctx, req, roomv1.Listing_LISTING_BANS)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListBansResponse{Bans: restrictions(listed), NextPageToken: next}, nil
}

// ListMutes implements the service.
func (s *rooms) ListMutes(ctx context.Context, req *adminv1.ListMutesRequest) (*adminv1.ListMutesResponse, error) {
	listed, next, err := s.list(ctx, req, roomv1.Listing_LISTING_MUTES)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListMutesResponse{Mutes: restrictions(listed), NextPageToken: next}, nil
}

func restrictions(listed []*roomv1.ListedMember) []*adminv1.Restriction {
	all := make([]*adminv1.Restriction, len(listed))
	for i, m := range listed {
		all[i] = &adminv1.Restriction{
			MemberId: m.GetMemberId(), Seq: m.GetSeq(), Actor: m.GetActor(), Reason: m.GetReason(), At: m.GetAt(), ExpiresAt: m.GetExpiresAt(),
		}
	}
	return all
}

// ListInvitations implements the service.
func (s *rooms) ListInvitations(ctx context.Context, req *adminv1.ListInvitationsRequest) (*adminv1.ListInvitationsResponse, error) {
	listed, next, err := s.list(ctx, req, roomv1.Listing_LISTING_INVITATIONS)
	if err != nil {
		return nil, err
	}
	res := &adminv1.ListInvitationsResponse{NextPageToken: next}
	for _, m := range listed {
		res.Invitations = append(res.Invitations, &adminv1.Invitation{
			MemberId: m.GetMemberId(), Seq: m.GetSeq(), Moderator: m.GetModerator(), Actor: m.GetActor(), At: m.GetAt(),
		})
	}
	return res, nil
}
