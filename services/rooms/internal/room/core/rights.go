package core

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
)

// Limits of what a room remembers about members' rights. Together with the kicks it stays below what a snapshot may weigh.
const (
	// RightsListed bounds the bans, the mutes and the invitations, each.
	RightsListed = 10_000
	// RightsBytes bounds what all three weigh together, encoded.
	RightsBytes = 768 << 10

	// KickKept is how long a kick is remembered and KicksKept how many are: the memberships it ends are gone by then.
	KickKept  = time.Hour
	KicksKept = 1_000

	// entryOverhead is what an entry weighs in a snapshot beside its own fields.
	entryOverhead = 4
)

// rights is who may do what in a room, by its events so far.
type rights struct {
	set     *journalv1.Settings // never nil and never changed in place
	setSeq  uint64
	removed uint64 // seq of the newest event that may have taken members out

	bans, mutes map[string]*journalv1.Restriction
	invitations map[string]*journalv1.Invitation
	kicks       map[string]*journalv1.Kick
	kicked      []*journalv1.Kick // by seq; those that another one of the member replaced are skipped

	bytes int // of bans, mutes and invitations
	// No ban and no mute expires before; zero: none does.
	expiry time.Time
}

// book is what events are entered into: the rights, or a draft over them.
type book interface {
	settings() *journalv1.Settings
	ban(member string) *journalv1.Restriction
	mute(member string) *journalv1.Restriction
	invitation(member string) *journalv1.Invitation
	// kick returns the seq of the last kick or ban that ended the member's memberships; 0: none is remembered.
	kick(member string) uint64

	setSettings(s *journalv1.Settings, seq uint64)
	setBan(member string, r *journalv1.Restriction)
	setMute(member string, r *journalv1.Restriction)
	setInvitation(member string, i *journalv1.Invitation)
	setKick(k *journalv1.Kick)
	setRemoval(seq uint64)
}

func newRights() rights { return rights{set: &journalv1.Settings{}} }

func (r *rights) settings() *journalv1.Settings                   { return r.set }
func (r *rights) ban(member string) *journalv1.Restriction        { return r.bans[member] }
func (r *rights) mute(member string) *journalv1.Restriction       { return r.mutes[member] }
func (r *rights) invitation(member string) *journalv1.Invitation  { return r.invitations[member] }
func (r *rights) kick(member string) uint64                       { return r.kicks[member].GetSeq() }
func (r *rights) setSettings(s *journalv1.Settings, seq uint64)   { r.set, r.setSeq = s, seq }
func (r *rights) setRemoval(seq uint64)                           { r.removed = seq }
func (r *rights) setBan(member string, b *journalv1.Restriction)  { r.restrict(&r.bans, member, b) }
func (r *rights) setMute(member string, m *journalv1.Restriction) { r.restrict(&r.mutes, member, m) }
func (r *rights) setInvitation(member string, i *journalv1.Invitation) {
	r.bytes += enter(&r.invitations, member, i)
}

func (r *rights) restrict(list *map[string]*journalv1.Restriction, member string, entry *journalv1.Restriction) {
	r.bytes += enter(list, member, entry)
	if at := entry.GetExpiresAt(); at != nil && (r.expiry.IsZero() || at.AsTime().Before(r.expiry)) {
		r.expiry = at.AsTime()
	}
}

func (r *rights) setKick(k *journalv1.Kick) {
	if r.kicks == nil {
		r.kicks = make(map[string]*journalv1.Kick)
	}
	r.kicks[k.MemberId] = k
	r.kicked = append(r.kicked, k)
	for len(r.kicked) > 0 {
		oldest := r.kicked[0]
		stale := r.kicks[oldest.MemberId] != oldest
		if !stale && len(r.kicks) <= KicksKept && k.At.AsTime().Sub(oldest.At.AsTime()) <= KickKept {
			return
		}
		r.kicked = r.kicked[1:]
		if !stale {
			delete(r.kicks, oldest.MemberId)
		}
	}
}

// enter puts an entry into a list, or takes it out when it is nil, and returns by how many bytes the list has grown.
func enter[V interface {
	comparable
	proto.Message
}](list *map[string]V, member string, entry V) int {
	var none V
	grown := 0
	if old, ok := (*list)[member]; ok {
		grown -= weigh(old)
	}
	if entry == none {
		delete(*list, member)
		return grown
	}
	if *list == nil {
		*list = make(map[string]V)
	}
	(*list)[member] = entry
	return grown + weigh(entry)
}

func weigh(m proto.Message) int { return entryOverhead + proto.Size(m) }

// prune forgets bans and mutes that have expired. It may be called at any time: they count for nothing.
func (r *rights) prune(now time.Time) {
	if r.expiry.IsZero() || r.expiry.After(now) {
		return
	}
	r.expiry = time.Time{}
	for _, list := range []*map[string]*journalv1.Restriction{&r.bans, &r.mutes} {
		for member, entry := range *list {
			switch at := entry.ExpiresAt; {
			case at == nil:
			case !inForce(entry, now):
				r.bytes += enter(list, member, nil)
			case r.expiry.IsZero() || at.AsTime().Before(r.expiry):
				r.expiry = at.AsTime()
			}
		}
	}
}

func inForce(r *journalv1.Restriction, now time.Time) bool {
	return r != nil && (r.ExpiresAt == nil || r.ExpiresAt.AsTime().After(now))
}

// restore takes what a snapshot holds.
func (r *rights) restore(s *journalv1.RoomSnapshot) error {
	if s.Settings != nil {
		if err := checkLevels(s.Settings); err != nil {
			return err
		}
		r.set = s.Settings
	}
	r.setSeq, r.removed = s.SettingsSeq, s.RemovalSeq
	for _, b := range s.Bans {
		r.setBan(b.MemberId, b)
	}
	for _, m := range s.Mutes {
		r.setMute(m.MemberId, m)
	}
	for _, i := range s.Invitations {
		r.setInvitation(i.MemberId, i)
	}
	for _, k := range s.Kicks {
		r.setKick(k)
	}
	return nil
}

// save puts everything into a snapshot.
func (r *rights) save(s *journalv1.RoomSnapshot) {
	s.Settings, s.SettingsSeq, s.RemovalSeq = r.set, r.setSeq, r.removed
	s.Bans, s.Mutes, s.Invitations = byMember(r.bans), byMember(r.mutes), byMember(r.invitations)
	for _, k := range r.kicked {
		if r.kicks[k.MemberId] == k {
			s.Kicks = append(s.Kicks, k)
		}
	}
}

func byMember[V any](list map[string]V) []V {
	entries := make([]V, 0, len(list))
	for _, member := range slices.Sorted(maps.Keys(list)) {
		entries = append(entries, list[member])
	}
	return entries
}

// checkLevels refuses levels that a later version has written.
func checkLevels(s *journalv1.Settings) error {
	for _, l := range []journalv1.Level{s.GetJoin(), s.GetPublish(), s.GetHistory()} {
		if _, known := journalv1.Level_name[int32(l)]; !known {
			return fmt.Errorf("%w: settings with level %d", ErrEvent, l)
		}
	}
	return nil
}

// rightsDraft is the rights plus what the commands of one batch decided.
type rightsDraft struct {
	base *rights

	set         *journalv1.Settings // nil: those of base
	setSeq      uint64
	bans, mutes map[string]*journalv1.Restriction // nil entries: taken out
	invitations map[string]*journalv1.Invitation
	kicks       map[string]uint64
	// How much the lists have grown.
	banned, muted, invited, bytes int
}

func (d *rightsDraft) settings() *journalv1.Settings {
	if d.set != nil {
		return d.set
	}
	return d.base.set
}

func (d *rightsDraft) settingsSeq() uint64 { return cmp.Or(d.setSeq, d.base.setSeq) }

func (d *rightsDraft) ban(member string) *journalv1.Restriction {
	return look(d.bans, d.base.bans, member)
}

func (d *rightsDraft) mute(member string) *journalv1.Restriction {
	return look(d.mutes, d.base.mutes, member)
}

func (d *rightsDraft) invitation(member string) *journalv1.Invitation {
	return look(d.invitations, d.base.invitations, member)
}

func (d *rightsDraft) kick(member string) uint64 {
	return cmp.Or(d.kicks[member], d.base.kick(member))
}

func (d *rightsDraft) setSettings(s *journalv1.Settings, seq uint64) { d.set, d.setSeq = s, seq }

func (d *rightsDraft) setBan(member string, b *journalv1.Restriction) {
	overlay(&d.bans, d.base.bans, member, b, &d.banned, &d.bytes)
}

func (d *rightsDraft) setMute(member string, m *journalv1.Restriction) {
	overlay(&d.mutes, d.base.mutes, member, m, &d.muted, &d.bytes)
}

func (d *rightsDraft) setInvitation(member string, i *journalv1.Invitation) {
	overlay(&d.invitations, d.base.invitations, member, i, &d.invited, &d.bytes)
}

func (d *rightsDraft) setKick(k *journalv1.Kick) {
	if d.kicks == nil {
		d.kicks = make(map[string]uint64)
	}
	d.kicks[k.MemberId] = k.Seq
}

func (d *rightsDraft) setRemoval(uint64) {}

func look[V any](over, base map[string]V, member string) V {
	if v, ok := over[member]; ok {
		return v
	}
	return base[member]
}

// overlay puts an entry over the base and counts how much the list has grown.
func overlay[V interface {
	comparable
	proto.Message
}](over *map[string]V, base map[string]V, member string, entry V, count, bytes *int) {
	var none V
	if old := look(*over, base, member); old != none {
		*count--
		*bytes -= weigh(old)
	}
	if entry != none {
		*count++
		*bytes += weigh(entry)
	}
	if *over == nil {
		*over = make(map[string]V)
	}
	(*over)[member] = entry
}
