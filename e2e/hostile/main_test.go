package hostile

import (
	"os"
	"strings"
	"testing"

	"github.com/parley-rt/parley/e2e/harness"
)

// shared is the server of the tests that do not need one of their own.
var shared harness.Shared

func TestMain(m *testing.M) {
	if addr := os.Getenv(crowdVariable); addr != "" {
		os.Exit(beCrowd(addr))
	}
	os.Exit(shared.Run(m))
}

// victim is the shared server's host:port.
func victim(tb testing.TB) string {
	tb.Helper()
	return strings.TrimPrefix(shared.Server(tb, harness.SQLite).URL(), "http://")
}
