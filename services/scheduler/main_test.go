package scheduler

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, actorkittest.LeakOptions()...) }
