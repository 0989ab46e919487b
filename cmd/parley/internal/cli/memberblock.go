package cli

import (
	"context"
	"fmt"

	adminv1 "github.com/parley-rt/parley/libs/protocol/admin/v1"
)

// memberCommand groups what is done to a member everywhere.
type memberCommand struct {
	Block   memberBlockCommand   `cmd:"" help:"Close all connections of a member and let it connect no more."`
	Unblock memberUnblockCommand `cmd:"" help:"End a block."`
	Blocked memberBlockedCommand `cmd:"" help:"List who is blocked."`
}

// memberArg is the member that a command is about.
type memberArg struct {
	apiFlags
	Member string `arg:"" help:"Id of the member."`
}

type memberBlockCommand struct {
	memberArg
	lastingFlag
	reasonFlag
}

// Run executes the command.
func (c *memberBlockCommand) Run(ctx context.Context, streams Streams) error {
	req := &adminv1.BlockMemberRequest{MemberId: c.Member, Reason: c.Reason, Lasting: c.lasting()}
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		res, err := call(ctx, req, a.BlockMember)
		if err != nil {
			return err
		}
		return a.print(res, line("blocked "+visible(c.Member)+until(res.GetBlock().GetExpiresAt())))
	})
}

type memberUnblockCommand struct{ memberArg }

// Run executes the command.
func (c *memberUnblockCommand) Run(ctx context.Context, streams Streams) error {
	req := &adminv1.UnblockMemberRequest{MemberId: c.Member}
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		res, err := call(ctx, req, a.UnblockMember)
		if err != nil {
			return err
		}
		text := "ended the block of " + visible(c.Member)
		if !res.GetChanged() {
			text = visible(c.Member) + " was not blocked"
		}
		return a.print(res, line(text))
	})
}

type memberBlockedCommand struct {
	apiFlags
	Limit int `help:"Print at most so many; 0: all." default:"0" env:"-"`
}

// Validate refuses a limit that means nothing.
func (c memberBlockedCommand) Validate() error {
	if c.Limit < 0 {
		return fmt.Errorf("--limit: %d is negative", c.Limit)
	}
	return nil
}

// Run executes the command.
func (c *memberBlockedCommand) Run(ctx context.Context, streams Streams) error {
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		read := func(ctx context.Context, size uint32, token string) ([]*adminv1.Block, string, error) {
			res, err := call(ctx, &adminv1.ListBlockedMembersRequest{PageSize: size, PageToken: token}, a.ListBlockedMembers)
			return res.GetBlocks(), res.GetNextPageToken(), err
		}
		return list(ctx, a, c.Limit, read, []any{"MEMBER", "UNTIL", "BY", "REASON"}, func(b *adminv1.Block) []any {
			return []any{visible(b.GetMemberId()), clock(b.GetExpiresAt(), "for good"), visible(b.GetActor()), visible(b.GetReason())}
		}, "nobody is blocked")
	})
}
