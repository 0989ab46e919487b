package roomhost

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
)

// The ownership rules: a room is never taken from an owner that lives and can be reached.
func TestMayClaim(t *testing.T) {
	t.Parallel()
	heard := time.Now()
	up := actorkit.LinkStatus{Up: true, LastHeard: heard}
	for name, c := range map[string]struct {
		head  persistence.Head
		owner Owner
		want  bool
	}{
		"never claimed":               {persistence.Head{}, Owner{}, true},
		"released":                    {persistence.Head{Epoch: 3}, Owner{}, true},
		"own earlier life":            {persistence.Head{Epoch: 3, Owner: "me"}, Owner{Live: true}, true},
		"owner has no record":         {persistence.Head{Epoch: 3, Owner: "other"}, Owner{Known: true, Link: up}, true},
		"owner lives":                 {persistence.Head{Epoch: 3, Owner: "other"}, Owner{Live: true, Known: true, Link: up}, false},
		"owner lives, no link yet":    {persistence.Head{Epoch: 3, Owner: "other"}, Owner{Live: true}, false},
		"owner lives, never heard":    {persistence.Head{Epoch: 3, Owner: "other"}, Owner{Live: true, Known: true}, false},
		"owner's link is down":        {persistence.Head{Epoch: 3, Owner: "other"}, Owner{Live: true, Known: true, Link: actorkit.LinkStatus{Down: true, LastHeard: heard}}, true},
		"owner's link is connecting":  {persistence.Head{Epoch: 3, Owner: "other"}, Owner{Live: true, Known: true, Link: actorkit.LinkStatus{LastHeard: heard}}, false},
		"owner cannot ask journal":    {persistence.Head{Epoch: 3, Owner: "other"}, Owner{Live: true, Known: true, Link: actorkit.LinkStatus{Up: true, Blind: true, LastHeard: heard}}, true},
		"earlier life, link of other": {persistence.Head{Epoch: 3, Owner: "me"}, Owner{Known: true, Link: up}, true},
	} {
		require.Equal(t, c.want, mayClaim("me", c.head, c.owner), name)
	}
}
