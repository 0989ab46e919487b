package roomhost

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
)

// The ownership rules: a room is never taken from an owner that answers, whatever the directory says (L6).
func TestMayClaim(t *testing.T) {
	t.Parallel()
	heard := time.Now()
	owned := persistence.Head{Epoch: 3, Owner: "other"}
	down := actorkit.LinkStatus{Down: true, LastHeard: heard}
	up := actorkit.LinkStatus{Up: true, LastHeard: heard}
	for name, c := range map[string]struct {
		head  persistence.Head
		owner Owner
		want  bool
	}{
		"never claimed":                     {persistence.Head{}, Owner{}, true},
		"released":                          {persistence.Head{Epoch: 3}, Owner{}, true},
		"own earlier life":                  {persistence.Head{Epoch: 3, Owner: "me"}, Owner{Live: true}, true},
		"owner has no record":               {owned, Owner{}, true},
		"owner need not have one yet":       {owned, Owner{Unseen: true}, false},
		"owner has no record and answers":   {owned, Owner{Known: true, Link: up}, false},
		"owner has no record, link is down": {owned, Owner{Unseen: true, Known: true, Link: down}, true},
		"owner lives":                       {owned, Owner{Live: true, Known: true, Link: up}, false},
		"owner lives, no link yet":          {owned, Owner{Live: true}, false},
		"owner lives, link is connecting":   {owned, Owner{Live: true, Known: true}, false},
		"owner's link is down":              {owned, Owner{Live: true, Known: true, Link: down}, true},
		"owner never answered":              {owned, Owner{Live: true, Known: true, Link: actorkit.LinkStatus{Down: true}}, true},
		"owner's link connects again":       {owned, Owner{Live: true, Known: true, Link: actorkit.LinkStatus{LastHeard: heard}}, false},
		"owner cannot ask journal":          {owned, Owner{Live: true, Known: true, Link: actorkit.LinkStatus{Up: true, Blind: true, LastHeard: heard}}, true},
		"earlier life, link of other":       {persistence.Head{Epoch: 3, Owner: "me"}, Owner{Known: true, Link: up}, true},
	} {
		require.Equal(t, c.want, mayClaim("me", c.head, c.owner), name)
	}
}

func TestUnseen(t *testing.T) {
	t.Parallel()
	now := time.Now()
	before := func(seconds float64) time.Time { return now.Add(-time.Duration(seconds * float64(time.Second))) }
	for name, c := range map[string]struct {
		claimed, asOf float64 // seconds ago
		want          bool
	}{
		"claimed long before the view":      {60, 1, false},
		"claimed just before the view":      {2, 1, true},
		"claimed after the view":            {5, 60, true},
		"claimed before an old view":        {70, 60, false},
		"clock of the journal is ahead":     {-3600, 1, false},
		"clock of the journal is a bit off": {-1, 1, true},
	} {
		require.Equal(t, c.want, unseen(before(c.claimed), before(c.asOf), now, 2*time.Second), name)
	}
}
