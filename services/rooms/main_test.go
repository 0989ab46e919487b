package rooms

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
	"github.com/parley-rt/parley/libs/persistence/persistencetest/pgtest"
)

// cluster is the Postgres of the tests that run on every backend.
var cluster *pgtest.Cluster

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(pgtest.Suite{M: m, Cluster: &cluster}, actorkittest.LeakOptions()...)
}
