package gateway

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
	"github.com/parley-rt/parley/libs/persistence/persistencetest/pgtest"
)

// cluster is the Postgres of this package's tests.
var cluster *pgtest.Cluster

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(pgtest.Suite{M: m, Cluster: &cluster}, actorkittest.LeakOptions()...)
}
