package etcd

import (
	"testing"

	"github.com/parley-rt/parley/libs/dcplane/dcplanetest"
	"github.com/parley-rt/parley/libs/dcplane/etcd/etcdtest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t, etcdtest.Options{})
	dcplanetest.Exercise(t, func(t *testing.T) dcplanetest.Plane { return newPlane(t, server, cutOff) })
}

// TestConformanceOutages runs the part of the suite with outages for each way to lose etcd.
func TestConformanceOutages(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t, etcdtest.Options{})
	own := func(t *testing.T) *etcdtest.Server { return etcdtest.Start(t, etcdtest.Options{}) }
	for name, c := range map[string]struct {
		outage outage
		server func(t *testing.T) *etcdtest.Server
	}{
		"cable cut": {cableCut, func(*testing.T) *etcdtest.Server { return server }},
		"killed":    {killed, own},
		"suspended": {suspended, own},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dcplanetest.ExerciseOutages(t, func(t *testing.T) dcplanetest.Plane { return newPlane(t, c.server(t), c.outage) })
		})
	}
}
