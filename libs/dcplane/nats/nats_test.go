package nats

import (
	"testing"

	"github.com/parley-rt/parley/libs/dcplane/dcplanetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	dcplanetest.Exercise(t, func(t *testing.T) dcplanetest.Plane { return newPlane(t) })
}
