package core

import (
	"fmt"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/ids"
	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"

	"github.com/parley-rt/parley/libs/persistence"
)

// Limits of what administrators ask for.
const (
	MaxActor  = 128
	MaxReason = 256
	// MinLasting and MaxLasting bound bans and mutes that expire.
	MinLasting = time.Second
	MaxLasting = 100 * 365 * 24 * time.Hour
	// MinRetention is the shortest age at which messages may go.
	MinRetention = time.Minute
)

// Ruled is what became of an Administer: exactly one of Answer and Refused is set.
type Ruled struct {
	Answer  *roomv1.Administered
	Refused *roomv1.Refused
	// Evicted is the member whose memberships the event has ended.
	Evicted string
	// At is when the event was decided.
	At time.Time
	// Narrowed: the event may have left members in the room who must not be there.
	Narrowed bool
}

// Removes tells whether the event counts as a removal: see State.Removal.
func (r Ruled) Removes() bool { return r.Evicted != "" || r.Narrowed }

// Administer decides a command about settings or members: the event to store, if any, which gets nextSeq, and the answer. A
// command that was carried out before is recognised before anything else is looked at.
func (d *Draft) Administer(a *roomv1.Administer, nextSeq uint64, now time.Time) ([]persistence.Event, Ruled) {
	if err := checkOperation(a); err != nil {
		return nil, refused(clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, err.Error(), 0)
	}
	id := ids.OperationKey(a.Actor, a.OperationId)
	if seq, ok := d.find(id); ok {
		return nil, Ruled{Answer: &roomv1.Administered{Seq: seq, Duplicate: true}}
	}
	manifest, event, answer, err := d.rule(a, now)
	switch {
	case err != nil:
		return nil, refused(err.code, err.text, 0)
	case event == nil:
		return nil, Ruled{Answer: answer}
	}
	if !d.fits(0, now) {
		return nil, refused(clientv1.ErrorCode_ERROR_CODE_BUSY, "the room takes no more at this rate", busyRetryAfter)
	}
	e, encodeErr := encode(manifest, id, event)
	if encodeErr != nil {
		return nil, refused(clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "command cannot be encoded", 0)
	}
	ruled := Ruled{Answer: answer, At: now}
	switch e := event.(type) {
	case *journalv1.MemberKicked:
		ruled.Evicted = e.MemberId
	case *journalv1.MemberBanned:
		ruled.Evicted = e.MemberId
	default:
		ruled.Narrowed = removes(&d.rights, event)
	}
	enact(&d.rights, nextSeq, event)
	answer.Seq, answer.Changed = nextSeq, true
	d.remember(id, nextSeq)
	return []persistence.Event{e}, ruled
}

func refused(code clientv1.ErrorCode, message string, retryAfterMs uint32) Ruled {
	return Ruled{Refused: &roomv1.Refused{Code: int32(code), Message: message, RetryAfterMs: retryAfterMs}}
}

func checkOperation(a *roomv1.Administer) error {
	if err := ids.CheckMessageID(a.OperationId); err != nil {
		return fmt.Errorf("operation_id must be 1 to %d bytes of UTF-8", ids.MaxMessageID)
	}
	return checkText("actor", a.Actor, 1, MaxActor)
}

func checkText(name, value string, least, most int) error {
	if len(value) < least || len(value) > most || !utf8.ValidString(value) {
		return fmt.Errorf("%s must be %d to %d bytes of UTF-8", name, least, most)
	}
	return nil
}

// problem is why a command is refused.
type problem struct {
	code clientv1.ErrorCode
	text string
}

func invalid(err error) *problem {
	return &problem{clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, err.Error()}
}

// rule turns a command into an event and the answer once it is stored. Without an event the answer holds already.
func (d *Draft) rule(a *roomv1.Administer, now time.Time) (manifest string, event proto.Message, answer *roomv1.Administered, bad *problem) {
	at := timestamppb.New(now)
	answer = &roomv1.Administered{}
	if err := checkCommand(a); err != nil {
		return "", nil, nil, invalid(err)
	}
	switch c := a.Command.(type) {
	case *roomv1.Administer_ChangeSettings:
		return d.changeSettings(a.Actor, c.ChangeSettings, at)
	case *roomv1.Administer_Kick:
		return ManifestMemberKicked, &journalv1.MemberKicked{
			MemberId: c.Kick.MemberId, Actor: a.Actor, Reason: c.Kick.Reason, At: at,
		}, answer, nil
	case *roomv1.Administer_Ban:
		b := c.Ban
		old := d.rights.ban(b.MemberId)
		if b.Lasting == nil && forGood(old, b.Reason) {
			answer.Seq = old.Seq
			return "", nil, answer, nil
		}
		e := &journalv1.MemberBanned{MemberId: b.MemberId, Actor: a.Actor, Reason: b.Reason, At: at, ExpiresAt: until(b.Lasting, now)}
		answer.ExpiresAt = e.ExpiresAt
		return ManifestMemberBanned, e, answer, d.room("bans", old == nil, len(d.rights.base.bans)+d.rights.banned, old, e)
	case *roomv1.Administer_Unban:
		if !inForce(d.rights.ban(c.Unban.MemberId), now) {
			return "", nil, answer, nil
		}
		return ManifestMemberUnbanned, &journalv1.MemberUnbanned{MemberId: c.Unban.MemberId, Actor: a.Actor, At: at}, answer, nil
	case *roomv1.Administer_Mute:
		m := c.Mute
		old := d.rights.mute(m.MemberId)
		if m.Lasting == nil && forGood(old, m.Reason) {
			answer.Seq = old.Seq
			return "", nil, answer, nil
		}
		e := &journalv1.MemberMuted{MemberId: m.MemberId, Actor: a.Actor, Reason: m.Reason, At: at, ExpiresAt: until(m.Lasting, now)}
		answer.ExpiresAt = e.ExpiresAt
		return ManifestMemberMuted, e, answer, d.room("mutes", old == nil, len(d.rights.base.mutes)+d.rights.muted, old, e)
	case *roomv1.Administer_Unmute:
		if !inForce(d.rights.mute(c.Unmute.MemberId), now) {
			return "", nil, answer, nil
		}
		return ManifestMemberUnmuted, &journalv1.MemberUnmuted{MemberId: c.Unmute.MemberId, Actor: a.Actor, At: at}, answer, nil
	case *roomv1.Administer_Invite:
		i := c.Invite
		old := d.rights.invitation(i.MemberId)
		if old != nil && old.Moderator == i.Moderator {
			answer.Seq = old.Seq
			return "", nil, answer, nil
		}
		e := &journalv1.MemberInvited{MemberId: i.MemberId, Moderator: i.Moderator, Actor: a.Actor, At: at}
		return ManifestMemberInvited, e, answer, d.room("invitations", old == nil, len(d.rights.base.invitations)+d.rights.invited, old, e)
	case *roomv1.Administer_Uninvite:
		if d.rights.invitation(c.Uninvite.MemberId) == nil {
			return "", nil, answer, nil
		}
		return ManifestMemberUninvited, &journalv1.MemberUninvited{MemberId: c.Uninvite.MemberId, Actor: a.Actor, At: at}, answer, nil
	default:
		return "", nil, nil, &problem{clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "no command that this version knows"}
	}
}

// room refuses an entry that a list has no room for. The entry to come weighs about what its event does.
func (d *Draft) room(list string, grows bool, count int, old, event proto.Message) *problem {
	if grows && count >= RightsListed {
		return &problem{clientv1.ErrorCode_ERROR_CODE_TOO_LARGE, fmt.Sprintf("the room holds %d %s, which is as many as it can", count, list)}
	}
	bytes := d.rights.base.bytes + d.rights.bytes + weigh(event) + seqWeight
	if !grows {
		bytes -= weigh(old)
	}
	if bytes > RightsBytes {
		return &problem{clientv1.ErrorCode_ERROR_CODE_TOO_LARGE,
			fmt.Sprintf("the room's bans, mutes and invitations weigh %d bytes, which is as much as it can hold", RightsBytes)}
	}
	return nil
}

// seqWeight is what a seq adds to the entry that an event becomes.
const seqWeight = 11

// forGood tells whether a restriction is there that does not expire and says the same.
func forGood(r *journalv1.Restriction, reason string) bool {
	return r != nil && r.ExpiresAt == nil && r.Reason == reason
}

func until(lasting *durationpb.Duration, now time.Time) *timestamppb.Timestamp {
	if lasting == nil {
		return nil
	}
	return timestamppb.New(now.Add(lasting.AsDuration()))
}

func checkCommand(a *roomv1.Administer) error {
	var member, reason string
	var lasting *durationpb.Duration
	switch c := a.Command.(type) {
	case *roomv1.Administer_Kick:
		member, reason = c.Kick.GetMemberId(), c.Kick.GetReason()
	case *roomv1.Administer_Ban:
		member, reason, lasting = c.Ban.GetMemberId(), c.Ban.GetReason(), c.Ban.GetLasting()
	case *roomv1.Administer_Unban:
		member = c.Unban.GetMemberId()
	case *roomv1.Administer_Mute:
		member, reason, lasting = c.Mute.GetMemberId(), c.Mute.GetReason(), c.Mute.GetLasting()
	case *roomv1.Administer_Unmute:
		member = c.Unmute.GetMemberId()
	case *roomv1.Administer_Invite:
		member = c.Invite.GetMemberId()
	case *roomv1.Administer_Uninvite:
		member = c.Uninvite.GetMemberId()
	default:
		return nil
	}
	if err := checkText("member_id", member, 1, MaxMemberID); err != nil {
		return err
	}
	if err := checkText("reason", reason, 0, MaxReason); err != nil {
		return err
	}
	if lasting != nil && (!lasting.IsValid() || lasting.AsDuration() < MinLasting || lasting.AsDuration() > MaxLasting) {
		return fmt.Errorf("lasting must be %v to 100 years, or absent", MinLasting)
	}
	return nil
}

// changeSettings decides a change of settings.
func (d *Draft) changeSettings(actor string, c *roomv1.ChangeSettings, at *timestamppb.Timestamp) (string, proto.Message, *roomv1.Administered, *problem) {
	if err := d.checkSettings(c); err != nil {
		return "", nil, nil, invalid(err)
	}
	old := d.rights.settings()
	next := proto.CloneOf(old)
	for _, level := range []struct{ to, from *journalv1.Level }{
		{&next.Join, c.Join}, {&next.Publish, c.Publish}, {&next.History, c.History},
	} {
		if level.from != nil {
			*level.to = *level.from
		}
	}
	if c.PresenceEvents != nil {
		next.PresenceEvents = *c.PresenceEvents
	}
	if c.RetentionAge != nil {
		next.RetentionAge = c.RetentionAge
		if c.RetentionAge.AsDuration() == 0 {
			next.RetentionAge = nil
		}
	}
	if c.RetentionCount != nil {
		next.RetentionCount = *c.RetentionCount
	}
	if c.MaxContentBytes != nil {
		next.MaxContentBytes = *c.MaxContentBytes
	}
	changeRate(&next.MessageRate, c.MessageRate)
	changeRate(&next.ByteRate, c.ByteRate)
	answer := &roomv1.Administered{Settings: next, Seq: d.rights.settingsSeq()}
	if proto.Equal(old, next) {
		return "", nil, answer, nil
	}
	return ManifestSettingsChanged, &journalv1.SettingsChanged{Settings: next, Actor: actor, At: at, Trimmed: d.s.trimmed}, answer, nil
}

func (d *Draft) checkSettings(c *roomv1.ChangeSettings) error {
	for _, l := range []struct {
		name  string
		level *journalv1.Level
	}{{"join", c.Join}, {"publish", c.Publish}, {"history", c.History}} {
		if l.level == nil {
			continue
		}
		if _, known := journalv1.Level_name[int32(*l.level)]; !known || *l.level == journalv1.Level_LEVEL_UNSPECIFIED {
			return fmt.Errorf("%s must be anyone, invited, moderators or nobody", l.name)
		}
	}
	if age := c.RetentionAge; age != nil {
		if length := age.AsDuration(); !age.IsValid() || length != 0 && length < MinRetention || length > MaxLasting {
			return fmt.Errorf("retention_age must be 0 or %v to 100 years", MinRetention)
		}
	}
	if n := c.GetMaxContentBytes(); int64(n) > int64(d.maxContent) {
		return fmt.Errorf("max_content_bytes must be at most %d", d.maxContent)
	}
	if err := checkRate("message_rate", c.MessageRate); err != nil {
		return err
	}
	return checkRate("byte_rate", c.ByteRate)
}
