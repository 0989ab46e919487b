package api

import (
	"context"

	adminv1 "github.com/parley-rt/parley/libs/protocol/admin/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// target is what all requests about a member have.
type target interface {
	GetRoomId() string
	GetOperationId() string
	GetMemberId() string
}

// checkTarget checks those fields and returns the operation id to use.
func checkTarget(t target) (*check, string) {
	c := begin(t.GetRoomId())
	operation := c.operation(t.GetOperationId())
	c.member(t.GetMemberId())
	return c, operation
}

// Kick implements the service.
func (s *rooms) Kick(ctx context.Context, req *adminv1.KickRequest) (*adminv1.KickResponse, error) {
	c, operation := checkTarget(req)
	c.reasonText(req.GetReason())
	if err := c.err(); err != nil {
		return nil, err
	}
	done, err := s.administer(ctx, req.GetRoomId(), operation, &roomv1.Administer{Command: &roomv1.Administer_Kick{
		Kick: &roomv1.KickMember{MemberId: req.GetMemberId(), Reason: req.GetReason()},
	}})
	if err != nil {
		return nil, err
	}
	return &adminv1.KickResponse{Seq: done.GetSeq(), Changed: done.GetChanged(), Duplicate: done.GetDuplicate()}, nil
}

// Ban implements the service.
func (s *rooms) Ban(ctx context.Context, req *adminv1.BanRequest) (*adminv1.BanResponse, error) {
	c, operation := checkTarget(req)
	c.reasonText(req.GetReason())
	c.lasting(req.GetLasting())
	if err := c.err(); err != nil {
		return nil, err
	}
	done, err := s.administer(ctx, req.GetRoomId(), operation, &roomv1.Administer{Command: &roomv1.Administer_Ban{
		Ban: &roomv1.BanMember{MemberId: req.GetMemberId(), Reason: req.GetReason(), Lasting: req.GetLasting()},
	}})
	if err != nil {
		return nil, err
	}
	return &adminv1.BanResponse{
		Seq: done.GetSeq(), Changed: done.GetChanged(), Duplicate: done.GetDuplicate(), ExpiresAt: done.GetExpiresAt(),
	}, nil
}

// Unban implements the service.
func (s *rooms) Unban(ctx context.Context, req *adminv1.UnbanRequest) (*adminv1.UnbanResponse, error) {
	c, operation := checkTarget(req)
	if err := c.err(); err != nil {
		return nil, err
	}
	done, err := s.administer(ctx, req.GetRoomId(), operation, &roomv1.Administer{Command: &roomv1.Administer_Unban{
		Unban: &roomv1.UnbanMember{MemberId: req.GetMemberId()},
	}})
	if err != nil {
		return nil, err
	}
	return &adminv1.UnbanResponse{Seq: done.GetSeq(), Changed: done.GetChanged(), Duplicate: done.GetDuplicate()}, nil
}

// Mute implements the service.
func (s *rooms) Mute(ctx context.Context, req *adminv1.MuteRequest) (*adminv1.MuteResponse, error) {
	c, operation := checkTarget(req)
	c.reasonText(req.GetReason())
	c.lasting(req.GetLasting())
	if err := c.err(); err != nil {
		return nil, err
	}
	done, err := s.administer(ctx, req.GetRoomId(), operation, &roomv1.Administer{Command: &roomv1.Administer_Mute{
		Mute: &roomv1.MuteMember{MemberId: req.GetMemberId(), Reason: req.GetReason(), Lasting: req.GetLasting()},
	}})
	if err != nil {
		return nil, err
	}
	return &adminv1.MuteResponse{
		Seq: done.GetSeq(), Changed: done.GetChanged(), Duplicate: done.GetDuplicate(), ExpiresAt: done.GetExpiresAt(),
	}, nil
}

// Unmute implements the service.
func (s *rooms) Unmute(ctx context.Context, req *adminv1.UnmuteRequest) (*adminv1.UnmuteResponse, error) {
	c, operation := checkTarget(req)
	if err := c.err(); err != nil {
		return nil, err
	}
	done, err := s.administer(ctx, req.GetRoomId(), operation, &roomv1.Administer{Command: &roomv1.Administer_Unmute{
		Unmute: &roomv1.UnmuteMember{MemberId: req.GetMemberId()},
	}})
	if err != nil {
		return nil, err
	}
	return &adminv1.UnmuteResponse{Seq: done.GetSeq(), Changed: done.GetChanged(), Duplicate: done.GetDuplicate()}, nil
}

// Invite implements the service.
func (s *rooms) Invite(ctx context.Context, req *adminv1.InviteRequest) (*adminv1.InviteResponse, error) {
	c, operation := checkTarget(req)
	if err := c.err(); err != nil {
		return nil, err
	}
	done, err := s.administer(ctx, req.GetRoomId(), operation, &roomv1.Administer{Command: &roomv1.Administer_Invite{
		Invite: &roomv1.InviteMember{MemberId: req.GetMemberId(), Moderator: req.GetModerator()},
	}})
	if err != nil {
		return nil, err
	}
	return &adminv1.InviteResponse{Seq: done.GetSeq(), Changed: done.GetChanged(), Duplicate: done.GetDuplicate()}, nil
}

// Uninvite implements the service.
func (s *rooms) Uninvite(ctx context.Context, req *adminv1.UninviteRequest) (*adminv1.UninviteResponse, error) {
	c, operation := checkTarget(req)
	if err := c.err(); err != nil {
		return nil, err
	}
	done, err := s.administer(ctx, req.GetRoomId(), operation, &roomv1.Administer{Command: &roomv1.Administer_Uninvite{
		Uninvite: &roomv1.UninviteMember{MemberId: req.GetMemberId()},
	}})
	if err != nil {
		return nil, err
	}
	return &adminv1.UninviteResponse{Seq: done.GetSeq(), Changed: done.GetChanged(), Duplicate: done.GetDuplicate()}, nil
}
