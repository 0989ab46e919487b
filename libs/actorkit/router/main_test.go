package router_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, actorkittest.LeakOptions()...) }

const (
	waitFor = actorkittest.Patience
	tick    = time.Millisecond
)
