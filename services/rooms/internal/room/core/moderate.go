package core

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"

	"github.com/parley-rt/parley/libs/persistence"
)

// Manifests of settings and moderation. They are part of the journal: never change one.
const (
	ManifestSettingsChanged = "parley.journal.v1.SettingsChanged"
	ManifestMemberKicked    = "parley.journal.v1.MemberKicked"
	ManifestMemberBanned    = "parley.journal.v1.MemberBanned"
	ManifestMemberUnbanned  = "parley.journal.v1.MemberUnbanned"
	ManifestMemberMuted     = "parley.journal.v1.MemberMuted"
	ManifestMemberUnmuted   = "parley.journal.v1.MemberUnmuted"
	ManifestMemberInvited   = "parley.journal.v1.MemberInvited"
	ManifestMemberUninvited = "parley.journal.v1.MemberUninvited"
)

// ruling decodes an event of settings or moderation; nil without an error when it is of another kind.
func ruling(e persistence.Event) (proto.Message, error) {
	var m proto.Message
	switch e.Manifest {
	case ManifestSettingsChanged:
		m = new(journalv1.SettingsChanged)
	case ManifestMemberKicked:
		m = new(journalv1.MemberKicked)
	case ManifestMemberBanned:
		m = new(journalv1.MemberBanned)
	case ManifestMemberUnbanned:
		m = new(journalv1.MemberUnbanned)
	case ManifestMemberMuted:
		m = new(journalv1.MemberMuted)
	case ManifestMemberUnmuted:
		m = new(journalv1.MemberUnmuted)
	case ManifestMemberInvited:
		m = new(journalv1.MemberInvited)
	case ManifestMemberUninvited:
		m = new(journalv1.MemberUninvited)
	default:
		return nil, nil
	}
	if err := decode(e.Manifest, e.Seq, e.Codec, e.Payload, m); err != nil {
		return nil, err
	}
	if s, ok := m.(*journalv1.SettingsChanged); ok {
		if err := checkLevels(s.Settings); err != nil {
			return nil, fmt.Errorf("%w at seq %d", err, e.Seq)
		}
	}
	return m, nil
}

// enact enters an event of settings or moderation into the book. It is the one place that says what they mean.
func enact(b book, seq uint64, event proto.Message) {
	switch e := event.(type) {
	case *journalv1.SettingsChanged:
		if removes(b, e) {
			b.setRemoval(seq)
		}
		b.setSettings(e.Settings, seq)
	case *journalv1.MemberKicked:
		b.setKick(&journalv1.Kick{MemberId: e.MemberId, Seq: seq, At: e.At})
		b.setRemoval(seq)
	case *journalv1.MemberBanned:
		b.setBan(e.MemberId, &journalv1.Restriction{
			MemberId: e.MemberId, Seq: seq, Actor: e.Actor, Reason: e.Reason, At: e.At, ExpiresAt: e.ExpiresAt,
		})
		// A ban that is taken back at once, or expires, has ended the memberships all the same.
		b.setKick(&journalv1.Kick{MemberId: e.MemberId, Seq: seq, At: e.At})
		b.setRemoval(seq)
	case *journalv1.MemberUnbanned:
		b.setBan(e.MemberId, nil)
	case *journalv1.MemberMuted:
		b.setMute(e.MemberId, &journalv1.Restriction{
			MemberId: e.MemberId, Seq: seq, Actor: e.Actor, Reason: e.Reason, At: e.At, ExpiresAt: e.ExpiresAt,
		})
	case *journalv1.MemberUnmuted:
		b.setMute(e.MemberId, nil)
	case *journalv1.MemberInvited:
		if removes(b, e) {
			b.setRemoval(seq)
		}
		b.setInvitation(e.MemberId, &journalv1.Invitation{MemberId: e.MemberId, Seq: seq, Moderator: e.Moderator, Actor: e.Actor, At: e.At})
	case *journalv1.MemberUninvited:
		if removes(b, e) {
			b.setRemoval(seq)
		}
		b.setInvitation(e.MemberId, nil)
	}
}

// removes tells whether an event that is about to be entered may leave members in the room who have no right to be there.
// Kicks and bans do; the others do when they make a level smaller.
func removes(b book, event proto.Message) bool {
	join := b.settings().GetJoin()
	switch e := event.(type) {
	case *journalv1.MemberKicked, *journalv1.MemberBanned:
		return true
	case *journalv1.SettingsChanged:
		return width(e.Settings.GetJoin()) < width(join)
	case *journalv1.MemberInvited:
		return join == journalv1.Level_LEVEL_MODERATORS && b.invitation(e.MemberId).GetModerator() && !e.Moderator
	case *journalv1.MemberUninvited:
		return reaches(join, b.invitation(e.MemberId)) && !reaches(join, nil)
	default:
		return false
	}
}

// levels from the narrowest to the widest.
var levels = []journalv1.Level{
	journalv1.Level_LEVEL_NOBODY, journalv1.Level_LEVEL_MODERATORS, journalv1.Level_LEVEL_INVITED, journalv1.Level_LEVEL_ANYONE,
}

func width(l journalv1.Level) int {
	if l == journalv1.Level_LEVEL_UNSPECIFIED {
		l = journalv1.Level_LEVEL_ANYONE
	}
	return slices.Index(levels, l)
}
