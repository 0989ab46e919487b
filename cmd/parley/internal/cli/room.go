package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/parley-rt/parley/libs/protocol/admin/v1"
	"github.com/parley-rt/parley/libs/protocol/ids"
	"github.com/parley-rt/parley/libs/ratelimit"
)

type roomCommand struct {
	Show     roomShowCommand     `cmd:"" help:"Show how a room is."`
	Settings roomSettingsCommand `cmd:"" help:"Show a room's settings."`
	Set      roomSetCommand      `cmd:"" help:"Change a room's settings."`

	Kick     roomKickCommand     `cmd:"" help:"Take a member out of a room; it may join again."`
	Ban      roomBanCommand      `cmd:"" help:"Take a member out of a room and let it in no more."`
	Unban    roomUnbanCommand    `cmd:"" help:"End a ban."`
	Mute     roomMuteCommand     `cmd:"" help:"Refuse a member's messages and signals."`
	Unmute   roomUnmuteCommand   `cmd:"" help:"End a mute."`
	Invite   roomInviteCommand   `cmd:"" help:"Name a member for the levels of the settings."`
	Uninvite roomUninviteCommand `cmd:"" help:"Take an invitation back."`

	Members     roomMembersCommand     `cmd:"" help:"List who is in a room, connected or not."`
	Bans        roomBansCommand        `cmd:"" help:"List the bans in force."`
	Mutes       roomMutesCommand       `cmd:"" help:"List the mutes in force."`
	Invitations roomInvitationsCommand `cmd:"" help:"List who is invited."`

	Publish roomPublishCommand `cmd:"" help:"Post a message in anybody's name, as a server does."`
	History roomHistoryCommand `cmd:"" help:"Print messages of a room."`
}

// roomArg is the room that a command is about.
type roomArg struct {
	apiFlags
	Room string `arg:"" help:"Id of the room."`
}

// Validate refuses an id that no room can have.
func (r roomArg) Validate() error {
	if err := ids.CheckRoom(r.Room); err != nil {
		return err
	}
	return r.apiFlags.Validate()
}

type roomShowCommand struct{ roomArg }

// Run executes the command.
func (c *roomShowCommand) Run(ctx context.Context, streams Streams) error {
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		res, err := call(ctx, &adminv1.GetRoomRequest{RoomId: c.Room}, a.GetRoom)
		if err != nil {
			return err
		}
		return a.print(res.GetRoom(), func(w io.Writer) error {
			r := res.GetRoom()
			rows := [][]any{
				{"room", r.GetRoomId()},
				{"node", visible(r.GetNode())},
				{"epoch", r.GetEpoch()},
				{"incarnation", r.GetIncarnation()},
				{"head", r.GetHead()},
				{"last message", r.GetLastMessageSeq()},
				{"trimmed up to", r.GetTrimmed()},
				{"members", fmt.Sprintf("%d, %d online", r.GetMembers(), r.GetOnline())},
				{"bans", r.GetBans()},
				{"mutes", r.GetMutes()},
				{"invitations", r.GetInvitations()},
			}
			return table(w, append(rows, settingsRows(r.GetSettings())...))
		})
	})
}

type roomSettingsCommand struct{ roomArg }

// Run executes the command.
func (c *roomSettingsCommand) Run(ctx context.Context, streams Streams) error {
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		res, err := call(ctx, &adminv1.GetRoomRequest{RoomId: c.Room}, a.GetRoom)
		if err != nil {
			return err
		}
		settings := res.GetRoom().GetSettings()
		return a.print(settings, func(w io.Writer) error { return table(w, settingsRows(settings)) })
	})
}

func settingsRows(s *adminv1.Settings) [][]any {
	age, count, content := "any", "any", "as the service allows"
	if s.GetRetentionAge() != nil {
		age = s.GetRetentionAge().AsDuration().String()
	}
	if s.GetRetentionCount() > 0 {
		count = strconv.FormatUint(s.GetRetentionCount(), 10)
	}
	if s.GetMaxContentBytes() > 0 {
		content = strconv.FormatUint(uint64(s.GetMaxContentBytes()), 10)
	}
	return [][]any{
		{"join", levelName(s.GetJoin())},
		{"publish", levelName(s.GetPublish())},
		{"history", levelName(s.GetHistory())},
		{"presence events", s.GetPresenceEvents()},
		{"retention age", age},
		{"retention count", count},
		{"max content bytes", content},
		{"message rate", rateName(s.GetMessageRate())},
		{"byte rate", rateName(s.GetByteRate())},
	}
}

// rateName is a rate as an operator writes it.
func rateName(r *adminv1.Rate) string {
	if r == nil {
		return "as the service limits it"
	}
	text, err := ratelimit.Rate{PerSecond: r.GetPerSecond(), Burst: r.GetBurst()}.MarshalText()
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func rate(r *ratelimit.Rate) *adminv1.Rate {
	if r == nil {
		return nil
	}
	return &adminv1.Rate{PerSecond: r.PerSecond, Burst: r.Burst}
}

const levelPrefix = "LEVEL_"

func levelName(l adminv1.Level) string {
	return strings.ToLower(strings.TrimPrefix(l.String(), levelPrefix))
}

type roomSetCommand struct {
	roomArg
	operationFlag
	Join            string         `help:"Who may be in the room: anyone, invited, moderators, nobody." enum:"anyone,invited,moderators,nobody," default:"" placeholder:"LEVEL" env:"-"`
	Publish         string         `help:"Who of them may publish." enum:"anyone,invited,moderators,nobody," default:"" placeholder:"LEVEL" env:"-"`
	History         string         `help:"Who of them may read what was posted before they joined." enum:"anyone,invited,moderators,nobody," default:"" placeholder:"LEVEL" env:"-"`
	PresenceEvents  *bool          `help:"Whether those in the room are told who joins and leaves." negatable:"" env:"-"`
	RetentionAge    *time.Duration `help:"How long messages are kept, like 720h; 0: no limit." placeholder:"AGE" env:"-"`
	RetentionCount  *uint64        `help:"How many of the newest are kept; 0: no limit." placeholder:"N" env:"-"`
	MaxContentBytes *uint32        `help:"Largest content of a message; 0: as the service allows." placeholder:"N" env:"-"`

	MessageRate *ratelimit.Rate `help:"Messages of all its members, like 50:200: so many a second on average, and so many at once; 0: as the service limits them." placeholder:"RATE" env:"-"`
	ByteRate    *ratelimit.Rate `help:"Bytes of their contents, the same way." placeholder:"RATE" env:"-"`
}

// Run executes the command.
func (c *roomSetCommand) Run(ctx context.Context, streams Streams) error {
	req := &adminv1.UpdateSettingsRequest{
		RoomId: c.Room, OperationId: c.operation(),
		Join: level(c.Join), Publish: level(c.Publish), History: level(c.History), PresenceEvents: c.PresenceEvents,
		RetentionCount: c.RetentionCount, MaxContentBytes: c.MaxContentBytes,
		MessageRate: rate(c.MessageRate), ByteRate: rate(c.ByteRate),
	}
	if c.RetentionAge != nil {
		req.RetentionAge = durationpb.New(*c.RetentionAge)
	}
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		res, err := call(ctx, req, a.UpdateSettings)
		if err != nil {
			return err
		}
		return a.print(res, func(w io.Writer) error {
			if _, err := fmt.Fprintln(w, outcome(res, "changed the settings of "+c.Room, "the settings of "+c.Room+" are like that already")); err != nil {
				return err
			}
			if res.GetSettings() == nil {
				return nil
			}
			return table(w, settingsRows(res.GetSettings()))
		})
	})
}

func level(name string) *adminv1.Level {
	n, ok := adminv1.Level_value[levelPrefix+strings.ToUpper(name)]
	if !ok {
		return nil
	}
	return adminv1.Level(n).Enum()
}

// compactJSON takes out the spaces that protojson puts in at random.
func compactJSON(w io.Writer, encoded []byte) error {
	var line bytes.Buffer
	if err := json.Compact(&line, encoded); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	line.WriteByte('\n')
	if _, err := w.Write(line.Bytes()); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
