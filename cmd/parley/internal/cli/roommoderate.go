package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/parley-rt/parley/libs/protocol/admin/v1"
	"github.com/parley-rt/parley/libs/protocol/ids"
)

// operationFlag makes a command that changes something safe to repeat.
type operationFlag struct {
	OperationID string `name:"operation-id" help:"Id of the change: given again within two minutes it is carried out once." placeholder:"ID" env:"-"`
}

// operation is the id to use: this command's own attempts are one change in any case.
func (o operationFlag) operation() string {
	if o.OperationID != "" {
		return o.OperationID
	}
	return ids.NewMessageID()
}

// memberArgs are the room and the member that a command is about.
type memberArgs struct {
	roomArg
	Member string `arg:"" help:"Id of the member."`
	operationFlag
}

type reasonFlag struct {
	Reason string `help:"Why, for the record and the member: at most 256 bytes." placeholder:"TEXT" env:"-"`
}

type lastingFlag struct {
	For *time.Duration `help:"For how long, like 10m; without it for good." placeholder:"TIME" env:"-"`
}

func (l lastingFlag) lasting() *durationpb.Duration {
	if l.For == nil {
		return nil
	}
	return durationpb.New(*l.For)
}

// changes is what all answers to changes tell.
type changes interface {
	GetSeq() uint64
	GetChanged() bool
	GetDuplicate() bool
}

// outcome says what a change has done.
func outcome(c changes, done, nothing string) string {
	switch {
	case c.GetDuplicate():
		return fmt.Sprintf("%s before, with this operation id, at seq %d", done, c.GetSeq())
	case c.GetChanged():
		return fmt.Sprintf("%s at seq %d", done, c.GetSeq())
	default:
		return nothing
	}
}

func until(at *timestamppb.Timestamp) string {
	if at == nil {
		return " for good"
	}
	return " until " + at.AsTime().Local().Format(time.DateTime)
}

type roomKickCommand struct {
	memberArgs
	reasonFlag
}

// Run executes the command.
func (c *roomKickCommand) Run(ctx context.Context, streams Streams) error {
	req := &adminv1.KickRequest{RoomId: c.Room, MemberId: c.Member, OperationId: c.operation(), Reason: c.Reason}
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		res, err := call(ctx, req, a.Kick)
		if err != nil {
			return err
		}
		return a.print(res, line(outcome(res, "kicked "+c.who(), c.who()+" was kicked already")))
	})
}

func (m memberArgs) who() string { return visible(m.Member) + " in " + m.Room }

func line(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		if _, err := fmt.Fprintln(w, text); err != nil {
			return fmt.Errorf("print: %w", err)
		}
		return nil
	}
}

type roomBanCommand struct {
	memberArgs
	lastingFlag
	reasonFlag
}

// Run executes the command.
func (c *roomBanCommand) Run(ctx context.Context, streams Streams) error {
	req := &adminv1.BanRequest{RoomId: c.Room, MemberId: c.Member, OperationId: c.operation(), Reason: c.Reason, Lasting: c.lasting()}
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		res, err := call(ctx, req, a.Ban)
		if err != nil {
			return err
		}
		return a.print(res, line(outcome(res, "banned "+c.who()+until(res.GetExpiresAt()), c.who()+" is banned like that already")))
	})
}

type roomUnbanCommand struct{ memberArgs }

// Run executes the command.
func (c *roomUnbanCommand) Run(ctx context.Context, streams Streams) error {
	req := &adminv1.UnbanRequest{RoomId: c.Room, MemberId: c.Member, OperationId: c.operation()}
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		res, err := call(ctx, req, a.Unban)
		if err != nil {
			return err
		}
		return a.print(res, line(outcome(res, "ended the ban of "+c.who(), c.who()+" was not banned")))
	})
}

type roomMuteCommand struct {
	memberArgs
	lastingFlag
	reasonFlag
}

// Run executes the command.
func (c *roomMuteCommand) Run(ctx context.Context, streams Streams) error {
	req := &adminv1.MuteRequest{RoomId: c.Room, MemberId: c.Member, OperationId: c.operation(), Reason: c.Reason, Lasting: c.lasting()}
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		res, err := call(ctx, req, a.Mute)
		if err != nil {
			return err
		}
		return a.print(res, line(outcome(res, "muted "+c.who()+until(res.GetExpiresAt()), c.who()+" is muted like that already")))
	})
}

type roomUnmuteCommand struct{ memberArgs }

// Run executes the command.
func (c *roomUnmuteCommand) Run(ctx context.Context, streams Streams) error {
	req := &adminv1.UnmuteRequest{RoomId: c.Room, MemberId: c.Member, OperationId: c.operation()}
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		res, err := call(ctx, req, a.Unmute)
		if err != nil {
			return err
		}
		return a.print(res, line(outcome(res, "ended the mute of "+c.who(), c.who()+" was not muted")))
	})
}

type roomInviteCommand struct {
	memberArgs
	Moderator bool `help:"As a moderator; without it as one who is none." env:"-"`
}

// Run executes the command.
func (c *roomInviteCommand) Run(ctx context.Context, streams Streams) error {
	req := &adminv1.InviteRequest{RoomId: c.Room, MemberId: c.Member, OperationId: c.operation(), Moderator: c.Moderator}
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		res, err := call(ctx, req, a.Invite)
		if err != nil {
			return err
		}
		return a.print(res, line(outcome(res, "invited "+c.who(), c.who()+" is invited like that already")))
	})
}

type roomUninviteCommand struct{ memberArgs }

// Run executes the command.
func (c *roomUninviteCommand) Run(ctx context.Context, streams Streams) error {
	req := &adminv1.UninviteRequest{RoomId: c.Room, MemberId: c.Member, OperationId: c.operation()}
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		res, err := call(ctx, req, a.Uninvite)
		if err != nil {
			return err
		}
		return a.print(res, line(outcome(res, "took back the invitation of "+c.who(), c.who()+" was not invited")))
	})
}
