package core

import (
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// Seat is a member's place in the room, as its memberships tell. The zero value is that of somebody who is not in it.
type Seat struct {
	// Sessions of the member that are in the room.
	Sessions int
	// Since is the room's head when the first of them joined.
	Since uint64
}

// Seats knows who is in the room.
type Seats interface {
	// Seated tells whether one of the member's sessions is in the room. Sessions that joined as of a seq below after do not
	// count: a kick has ended their membership.
	Seated(member string, after uint64) bool
}

// Denial is why a member may not do something.
type Denial struct {
	Code clientv1.ErrorCode
	// Reason is what the member is told.
	Reason string
	// ExpiresAt is when a ban or a mute ends; nil: never, or it is neither.
	ExpiresAt *timestamppb.Timestamp
}

// Refused is the denial as an answer at now.
func (d *Denial) Refused(now time.Time) *roomv1.Refused {
	r := &roomv1.Refused{Code: int32(d.Code), Message: d.Reason}
	if d.ExpiresAt != nil {
		left := d.ExpiresAt.AsTime().Sub(now).Milliseconds() + 1
		r.RetryAfterMs = uint32(min(max(left, 1), math.MaxUint32))
	}
	return r
}

// Eviction is the denial as a member's removal from the room.
func (d *Denial) Eviction(member string) *roomv1.Eviction {
	return &roomv1.Eviction{MemberId: member, Code: int32(d.Code), Reason: d.Reason, ExpiresAt: d.ExpiresAt}
}

func notJoined() *Denial {
	return &Denial{Code: clientv1.ErrorCode_ERROR_CODE_NOT_JOINED, Reason: "the member has not joined the room"}
}

func forbidden(reason string) *Denial {
	return &Denial{Code: clientv1.ErrorCode_ERROR_CODE_FORBIDDEN, Reason: reason}
}

func restricted(code clientv1.ErrorCode, r *journalv1.Restriction, reason string) *Denial {
	if r.Reason != "" {
		reason = r.Reason
	}
	return &Denial{Code: code, Reason: reason, ExpiresAt: r.ExpiresAt}
}

// reaches tells whether a member with that invitation, nil without one, belongs to a level.
func reaches(level journalv1.Level, i *journalv1.Invitation) bool {
	switch level {
	case journalv1.Level_LEVEL_UNSPECIFIED, journalv1.Level_LEVEL_ANYONE:
		return true
	case journalv1.Level_LEVEL_INVITED:
		return i != nil
	case journalv1.Level_LEVEL_MODERATORS:
		return i.GetModerator()
	default:
		return false
	}
}

// banned says whether a member is banned at now.
func banned(b book, member string, now time.Time) *Denial {
	if r := b.ban(member); inForce(r, now) {
		return restricted(clientv1.ErrorCode_ERROR_CODE_BANNED, r, "the member is banned from the room")
	}
	return nil
}

// barred says why a member may not be in the room; nil: it may.
func barred(b book, member string, now time.Time) *Denial {
	if d := banned(b, member, now); d != nil {
		return d
	}
	if !reaches(b.settings().GetJoin(), b.invitation(member)) {
		return forbidden("the room's settings do not let the member in")
	}
	return nil
}

// outside says why a member is not in the room or may not be; nil: it is.
func outside(b book, seats Seats, member string, now time.Time) *Denial {
	if d := banned(b, member, now); d != nil {
		return d
	}
	if !seats.Seated(member, b.kick(member)) {
		return notJoined()
	}
	return barred(b, member, now)
}

// withheld says why nothing is published in a member's name, wherever it is.
func withheld(b book, member string, now time.Time) *Denial {
	if d := banned(b, member, now); d != nil {
		return d
	}
	return muted(b, member, now)
}

// muted says whether a member is muted at now.
func muted(b book, member string, now time.Time) *Denial {
	if r := b.mute(member); inForce(r, now) {
		return restricted(clientv1.ErrorCode_ERROR_CODE_MUTED, r, "the member is muted")
	}
	return nil
}

// silenced says why a member may neither publish nor signal; nil: it may.
func silenced(b book, seats Seats, member string, now time.Time) *Denial {
	if d := outside(b, seats, member, now); d != nil {
		return d
	}
	if !reaches(b.settings().GetPublish(), b.invitation(member)) {
		return forbidden("the room's settings do not let the member publish")
	}
	return muted(b, member, now)
}

// Barred says why a member may not be in the room at now; nil: it may.
func (s *State) Barred(member string, now time.Time) *Denial { return barred(&s.rights, member, now) }

// Outside says why a member is not in the room, or may not be any more, at now; nil: it is.
func (s *State) Outside(seats Seats, member string, now time.Time) *Denial {
	return outside(&s.rights, seats, member, now)
}

// Silenced says why a member may not signal at now; nil: it may.
func (s *State) Silenced(seats Seats, member string, now time.Time) *Denial {
	return silenced(&s.rights, seats, member, now)
}

// Unread says why a member may not ask for the room's history at now; nil: it may.
func (s *State) Unread(seats Seats, member string, now time.Time) *Denial {
	if d := s.Outside(seats, member, now); d != nil {
		return d
	}
	if !s.ReadsHistory(member) {
		return forbidden("the room's settings do not let the member read its history")
	}
	return nil
}

// ReadsHistory tells whether a member, once in the room, may read what was posted before it joined.
func (s *State) ReadsHistory(member string) bool {
	return reaches(s.rights.set.GetHistory(), s.rights.invitation(member))
}

// Floor returns the seq up to which messages are not for a member with that seat: they are gone, or from before it joined
// a room whose history it may not read.
func (s *State) Floor(member string, seat Seat) uint64 {
	if s.ReadsHistory(member) {
		return s.trimmed
	}
	return s.JoinFloor(seat)
}

// JoinFloor is Floor for a member that may not read history for another reason than the room's settings.
func (s *State) JoinFloor(seat Seat) uint64 { return max(s.trimmed, seat.Since) }

// Kicked returns the seq below which a member's memberships have ended; 0: none has.
func (s *State) Kicked(member string) uint64 { return s.rights.kick(member) }

// Removal returns the seq of the newest event that may have taken members out of the room; 0: none.
func (s *State) Removal() uint64 { return s.rights.removed }

// Settings returns the room's settings. They must not be changed.
func (s *State) Settings() *journalv1.Settings { return s.rights.set }

// SettingsSeq returns the seq of the last change of settings; 0: there was none.
func (s *State) SettingsSeq() uint64 { return s.rights.setSeq }
