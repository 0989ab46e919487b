package cli

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/parley-rt/parley/libs/protocol/admin/v1"
)

// listArgs are a room and how much of its list is wanted.
type listArgs struct {
	roomArg
	Limit int `help:"Print at most so many; 0: all." default:"0" env:"-"`
}

// Validate refuses a limit that means nothing.
func (l listArgs) Validate() error {
	if l.Limit < 0 {
		return fmt.Errorf("--limit: %d is negative", l.Limit)
	}
	return l.roomArg.Validate()
}

const listPage = 1000

// list reads a list page by page and prints it: a table, or one JSON object per entry.
func list[E proto.Message](ctx context.Context, a admin, limit int, read func(ctx context.Context, size uint32, token string) ([]E, string, error),
	header []any, row func(E) []any, none string,
) error {
	rows, token := [][]any{header}, ""
	for n := 0; ; {
		size := listPage
		if limit > 0 {
			size = min(size, limit-n)
		}
		page, next, err := read(ctx, uint32(size), token)
		if err != nil {
			return err
		}
		for _, entry := range page {
			if a.flags.JSON {
				if err := printProto(a.out, entry); err != nil {
					return err
				}
				continue
			}
			rows = append(rows, row(entry))
		}
		n += len(page)
		if token = next; token == "" || limit > 0 && n >= limit {
			break
		}
	}
	switch {
	case a.flags.JSON:
		return nil
	case len(rows) == 1:
		return line(none)(a.out)
	default:
		return table(a.out, rows)
	}
}

func clock(at *timestamppb.Timestamp, never string) string {
	if at == nil {
		return never
	}
	return at.AsTime().Local().Format(time.DateTime)
}

type roomMembersCommand struct{ listArgs }

// Run executes the command.
func (c *roomMembersCommand) Run(ctx context.Context, streams Streams) error {
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		read := func(ctx context.Context, size uint32, token string) ([]*adminv1.Member, string, error) {
			res, err := call(ctx, &adminv1.ListMembersRequest{RoomId: c.Room, PageSize: size, PageToken: token}, a.ListMembers)
			return res.GetMembers(), res.GetNextPageToken(), err
		}
		return list(ctx, a, c.Limit, read, []any{"MEMBER", "SESSIONS", "CONNECTIONS"}, func(m *adminv1.Member) []any {
			return []any{visible(m.GetMemberId()), m.GetSessions(), m.GetConnections()}
		}, "nobody is in "+c.Room)
	})
}

func restrictionRow(r *adminv1.Restriction) []any {
	return []any{visible(r.GetMemberId()), clock(r.GetAt(), ""), clock(r.GetExpiresAt(), "for good"), visible(r.GetActor()), visible(r.GetReason())}
}

type roomBansCommand struct{ listArgs }

// Run executes the command.
func (c *roomBansCommand) Run(ctx context.Context, streams Streams) error {
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		read := func(ctx context.Context, size uint32, token string) ([]*adminv1.Restriction, string, error) {
			res, err := call(ctx, &adminv1.ListBansRequest{RoomId: c.Room, PageSize: size, PageToken: token}, a.ListBans)
			return res.GetBans(), res.GetNextPageToken(), err
		}
		return list(ctx, a, c.Limit, read, []any{"MEMBER", "SINCE", "UNTIL", "BY", "REASON"}, restrictionRow, "nobody is banned in "+c.Room)
	})
}

type roomMutesCommand struct{ listArgs }

// Run executes the command.
func (c *roomMutesCommand) Run(ctx context.Context, streams Streams) error {
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		read := func(ctx context.Context, size uint32, token string) ([]*adminv1.Restriction, string, error) {
			res, err := call(ctx, &adminv1.ListMutesRequest{RoomId: c.Room, PageSize: size, PageToken: token}, a.ListMutes)
			return res.GetMutes(), res.GetNextPageToken(), err
		}
		return list(ctx, a, c.Limit, read, []any{"MEMBER", "SINCE", "UNTIL", "BY", "REASON"}, restrictionRow, "nobody is muted in "+c.Room)
	})
}

type roomInvitationsCommand struct{ listArgs }

// Run executes the command.
func (c *roomInvitationsCommand) Run(ctx context.Context, streams Streams) error {
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		read := func(ctx context.Context, size uint32, token string) ([]*adminv1.Invitation, string, error) {
			res, err := call(ctx, &adminv1.ListInvitationsRequest{RoomId: c.Room, PageSize: size, PageToken: token}, a.ListInvitations)
			return res.GetInvitations(), res.GetNextPageToken(), err
		}
		return list(ctx, a, c.Limit, read, []any{"MEMBER", "SINCE", "MODERATOR", "BY"}, func(i *adminv1.Invitation) []any {
			return []any{visible(i.GetMemberId()), clock(i.GetAt(), ""), i.GetModerator(), visible(i.GetActor())}
		}, "nobody is invited to "+c.Room)
	})
}
