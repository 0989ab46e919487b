package core

import (
	"cmp"
	"slices"
	"time"

	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// Limits of a page of a room's lists.
const (
	ListDefault = 100
	ListMost    = 1000
)

// ListLimit applies the limits to what was asked for.
func ListLimit(asked uint32) int {
	if asked == 0 {
		return ListDefault
	}
	return int(min(asked, ListMost))
}

// Counts returns how many bans and mutes are in force at now, and how many invitations there are.
func (s *State) Counts(now time.Time) (bans, mutes, invitations int) {
	s.rights.prune(now)
	return len(s.rights.bans), len(s.rights.mutes), len(s.rights.invitations)
}

// List returns a page of the bans, mutes or invitations, ascending by member, and whether there are more; ok is false when
// it is none of these lists.
func (s *State) List(l *roomv1.List, now time.Time) (page []*roomv1.ListedMember, more, ok bool) {
	s.rights.prune(now)
	switch l.Listing {
	case roomv1.Listing_LISTING_BANS:
		page, more = pageOf(s.rights.bans, l, restrictionListed)
	case roomv1.Listing_LISTING_MUTES:
		page, more = pageOf(s.rights.mutes, l, restrictionListed)
	case roomv1.Listing_LISTING_INVITATIONS:
		page, more = pageOf(s.rights.invitations, l, func(i *journalv1.Invitation) *roomv1.ListedMember {
			return &roomv1.ListedMember{MemberId: i.MemberId, Seq: i.Seq, Actor: i.Actor, At: i.At, Moderator: i.Moderator}
		})
	default:
		return nil, false, false
	}
	return page, more, true
}

func restrictionListed(r *journalv1.Restriction) *roomv1.ListedMember {
	return &roomv1.ListedMember{MemberId: r.MemberId, Seq: r.Seq, Actor: r.Actor, Reason: r.Reason, At: r.At, ExpiresAt: r.ExpiresAt}
}

func pageOf[V any](list map[string]V, l *roomv1.List, listed func(V) *roomv1.ListedMember) ([]*roomv1.ListedMember, bool) {
	names, more := FirstMembers(func(yield func(string) bool) {
		for member := range list {
			if !yield(member) {
				return
			}
		}
	}, l.AfterMemberId, ListLimit(l.Limit))
	page := make([]*roomv1.ListedMember, len(names))
	for i, member := range names {
		page[i] = listed(list[member])
	}
	return page, more
}

// FirstMembers returns the first limit members above after, ascending, each once, and whether there are more.
func FirstMembers(members func(yield func(string) bool), after string, limit int) (page []string, more bool) {
	// Keeps the smallest so far, sorted now and then: twice the page is all that is in memory.
	for member := range members {
		if member <= after {
			continue
		}
		if page = append(page, member); len(page) > 2*limit {
			page = firstOf(page, limit+1)
		}
	}
	page = firstOf(page, limit+1)
	if len(page) > limit {
		return page[:limit], true
	}
	return page, false
}

func firstOf(members []string, n int) []string {
	slices.SortFunc(members, cmp.Compare[string])
	members = slices.Compact(members)
	return members[:min(n, len(members))]
}
