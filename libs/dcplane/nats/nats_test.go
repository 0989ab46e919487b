package nats

import (
	"testing"

	"github.com/parley-rt/parley/libs/dcplane/dcplanetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	dcplanetest.Exercise(t, func(t *testing.T) dcplanetest.Plane { return newPlane(t) })
}

// TestConformanceFrozen runs the suite with outages nobody is told of: no connection breaks, nothing answers.
func TestConformanceFrozen(t *testing.T) {
	t.Parallel()
	dcplanetest.Exercise(t, func(t *testing.T) dcplanetest.Plane {
		p := newPlane(t)
		p.freezes = true
		return p
	})
}
