package api

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-rt/parley/libs/opskit/adminapi"
	"github.com/parley-rt/parley/libs/persistence"
	adminv1 "github.com/parley-rt/parley/libs/protocol/admin/v1"
)

// storable refuses what text in the store cannot hold.
func (c *check) storable(field, text string) {
	if strings.ContainsRune(text, 0) {
		c.fail(field, "has a NUL")
	}
}

// BlockMember implements the service. Whoever repeats it blocks once more, which changes nothing but the time.
func (s *rooms) BlockMember(ctx context.Context, req *adminv1.BlockMemberRequest) (*adminv1.BlockMemberResponse, error) {
	c := new(check)
	c.member(req.GetMemberId())
	c.storable("member_id", req.GetMemberId())
	c.reasonText(req.GetReason())
	c.storable("reason", req.GetReason())
	c.lasting(req.GetLasting())
	if err := c.err(); err != nil {
		return nil, err
	}
	var lasting time.Duration
	if req.GetLasting() != nil {
		lasting = req.GetLasting().AsDuration()
	}
	b, err := s.blocks.BlockMember(ctx, req.GetMemberId(), lasting, req.GetReason(), adminapi.CallerOf(ctx).Actor)
	if err != nil {
		return nil, err
	}
	s.metrics.ruled(ctx, "block", true)
	s.audit.Info("member blocked", slog.String("member_id", b.Member), slog.String("actor", b.By), slog.Duration("lasting", lasting))
	return &adminv1.BlockMemberResponse{Block: blockOf(b)}, nil
}

func blockOf(b persistence.Block) *adminv1.Block {
	out := &adminv1.Block{MemberId: b.Member, Actor: b.By, Reason: b.Reason, At: timestamppb.New(b.At)}
	if !b.Until.IsZero() {
		out.ExpiresAt = timestamppb.New(b.Until)
	}
	return out
}

// UnblockMember implements the service.
func (s *rooms) UnblockMember(ctx context.Context, req *adminv1.UnblockMemberRequest) (*adminv1.UnblockMemberResponse, error) {
	c := new(check)
	c.member(req.GetMemberId())
	c.storable("member_id", req.GetMemberId())
	if err := c.err(); err != nil {
		return nil, err
	}
	was, err := s.blocks.UnblockMember(ctx, req.GetMemberId())
	if err != nil {
		return nil, err
	}
	s.metrics.ruled(ctx, "unblock", was)
	s.audit.Info("member unblocked", slog.String("member_id", req.GetMemberId()), slog.String("actor", adminapi.CallerOf(ctx).Actor), slog.Bool("changed", was))
	return &adminv1.UnblockMemberResponse{Changed: was}, nil
}

// ListBlockedMembers implements the service.
func (s *rooms) ListBlockedMembers(ctx context.Context, req *adminv1.ListBlockedMembersRequest) (*adminv1.ListBlockedMembersResponse, error) {
	c := new(check)
	after := c.page(req.GetPageToken())
	c.storable("page_token", after)
	if err := c.err(); err != nil {
		return nil, err
	}
	size := int(clamp(req.GetPageSize(), standardPage, maxPage))
	blocks, err := s.blocks.ListBlocks(ctx, after, size+1)
	if err != nil {
		return nil, fmt.Errorf("list blocked members: %w", err)
	}
	res := new(adminv1.ListBlockedMembersResponse)
	if len(blocks) > size {
		blocks = blocks[:size]
		res.NextPageToken = pageToken(blocks[size-1].Member)
	}
	for _, b := range blocks {
		res.Blocks = append(res.Blocks, blockOf(b))
	}
	return res, nil
}
