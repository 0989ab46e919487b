package api

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	adminv1 "github.com/parley-rt/parley/libs/protocol/admin/v1"
	"github.com/parley-rt/parley/libs/protocol/admin/v1/adminv1connect"
	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
	"github.com/parley-rt/parley/libs/protocol/names"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"

	"github.com/parley-rt/parley/libs/opskit/adminapi"
	"github.com/parley-rt/parley/libs/persistence"
)

// rooms is the RoomService.
type rooms struct {
	asker Asker
	heads Heads
	now   func() time.Time
	// blocks, audit and metrics are for blocks of members.
	blocks  persistence.BlockStore
	audit   *slog.Logger
	metrics *metrics
}

var _ adminv1connect.RoomServiceHandler = (*rooms)(nil)

// GetRoom implements the service.
func (s *rooms) GetRoom(ctx context.Context, req *adminv1.GetRoomRequest) (*adminv1.GetRoomResponse, error) {
	if err := begin(req.GetRoomId()).err(); err != nil {
		return nil, err
	}
	answer, err := s.read(ctx, &roomv1.Frame{RoomId: req.GetRoomId(), Kind: &roomv1.Frame_Describe{Describe: &roomv1.Describe{}}})
	if err != nil {
		return nil, err
	}
	d := answer.GetDescription()
	if d == nil {
		return nil, unexpected(answer.GetKind())
	}
	return &adminv1.GetRoomResponse{Room: &adminv1.Room{
		RoomId: req.GetRoomId(), Settings: settingsOf(d.GetSettings()), SettingsSeq: d.GetSettingsSeq(),
		Head: d.GetHead(), LastMessageSeq: d.GetLastMessageSeq(), Trimmed: d.GetTrimmed(),
		Epoch: d.GetEpoch(), Incarnation: d.GetIncarnation(), Node: d.GetNode(),
		Members: d.GetMembers(), Online: d.GetOnline(), Bans: d.GetBans(), Mutes: d.GetMutes(), Invitations: d.GetInvitations(),
	}}, nil
}

// read asks a room that was used before. One that was not is not begun by being looked at: names that were mistyped would
// stay in the journal.
func (s *rooms) read(ctx context.Context, frame *roomv1.Frame) (*roomv1.Frame, error) {
	head, err := s.heads.Head(ctx, persistence.StreamKey(names.RoomStream(frame.GetRoomId())))
	switch {
	case err != nil:
		return nil, fmt.Errorf("look for room %s: %w", frame.GetRoomId(), err)
	case head.Epoch == 0:
		return nil, errUnused
	}
	return s.asker.Ask(ctx, frame)
}

// administer has a command carried out by the room.
func (s *rooms) administer(ctx context.Context, roomID, operationID string, command *roomv1.Administer) (*roomv1.Administered, error) {
	command.Actor, command.OperationId = adminapi.CallerOf(ctx).Actor, operationID
	answer, err := s.asker.Ask(ctx, &roomv1.Frame{RoomId: roomID, Kind: &roomv1.Frame_Administer{Administer: command}})
	if err != nil {
		return nil, err
	}
	if answer.GetAdministered() == nil {
		return nil, unexpected(answer.GetKind())
	}
	return answer.GetAdministered(), nil
}

// UpdateSettings implements the service.
func (s *rooms) UpdateSettings(ctx context.Context, req *adminv1.UpdateSettingsRequest) (*adminv1.UpdateSettingsResponse, error) {
	c := begin(req.GetRoomId())
	operation := c.operation(req.GetOperationId())
	c.level("join", req.Join)
	c.level("publish", req.Publish)
	c.level("history", req.History)
	c.retentionAge(req.GetRetentionAge())
	c.rate("message_rate", req.GetMessageRate())
	c.rate("byte_rate", req.GetByteRate())
	if req.Join == nil && req.Publish == nil && req.History == nil && req.PresenceEvents == nil && req.RetentionAge == nil &&
		req.RetentionCount == nil && req.MaxContentBytes == nil && req.MessageRate == nil && req.ByteRate == nil {
		c.fail("join", "no setting is given: give at least one of join, publish, history, presence_events, retention_age, "+
			"retention_count, max_content_bytes, message_rate, byte_rate")
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	done, err := s.administer(ctx, req.GetRoomId(), operation, &roomv1.Administer{Command: &roomv1.Administer_ChangeSettings{
		ChangeSettings: &roomv1.ChangeSettings{
			Join: levelIn(req.Join), Publish: levelIn(req.Publish), History: levelIn(req.History),
			PresenceEvents: req.PresenceEvents, RetentionAge: req.GetRetentionAge(), RetentionCount: req.RetentionCount,
			MaxContentBytes: req.MaxContentBytes, MessageRate: rateIn(req.GetMessageRate()), ByteRate: rateIn(req.GetByteRate()),
		},
	}})
	if err != nil {
		return nil, err
	}
	res := &adminv1.UpdateSettingsResponse{Seq: done.GetSeq(), Changed: done.GetChanged(), Duplicate: done.GetDuplicate()}
	if done.GetSettings() != nil {
		res.Settings = settingsOf(done.GetSettings())
	}
	return res, nil
}

// settingsOf never leaves a level open: a room that never got any settings is public.
func settingsOf(s *journalv1.Settings) *adminv1.Settings {
	return &adminv1.Settings{
		Join: levelOf(s.GetJoin()), Publish: levelOf(s.GetPublish()), History: levelOf(s.GetHistory()),
		PresenceEvents: s.GetPresenceEvents(), RetentionAge: s.GetRetentionAge(), RetentionCount: s.GetRetentionCount(),
		MaxContentBytes: s.GetMaxContentBytes(), MessageRate: rateOut(s.GetMessageRate()), ByteRate: rateOut(s.GetByteRate()),
	}
}

func rateIn(r *adminv1.Rate) *journalv1.Rate {
	if r == nil {
		return nil
	}
	return &journalv1.Rate{PerSecond: r.GetPerSecond(), Burst: r.GetBurst()}
}

func rateOut(r *journalv1.Rate) *adminv1.Rate {
	if r == nil {
		return nil
	}
	return &adminv1.Rate{PerSecond: r.GetPerSecond(), Burst: r.GetBurst()}
}

func levelOf(l journalv1.Level) adminv1.Level {
	switch l {
	case journalv1.Level_LEVEL_INVITED:
		return adminv1.Level_LEVEL_INVITED
	case journalv1.Level_LEVEL_MODERATORS:
		return adminv1.Level_LEVEL_MODERATORS
	case journalv1.Level_LEVEL_NOBODY:
		return adminv1.Level_LEVEL_NOBODY
	default:
		return adminv1.Level_LEVEL_ANYONE
	}
}

// levelIn translates a level that was checked.
func levelIn(l *adminv1.Level) *journalv1.Level {
	if l == nil {
		return nil
	}
	for in := range journalv1.Level_name {
		if level := journalv1.Level(in); level != journalv1.Level_LEVEL_UNSPECIFIED && levelOf(level) == *l {
			return level.Enum()
		}
	}
	return nil
}
