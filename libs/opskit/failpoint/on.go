//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// Enabled says whether points can do anything in this build.
const Enabled = true

// Variable is the environment variable with the settings. Those that begin with PARLEY_ are the configuration, which knows it not.
const Variable = "TEST_PARLEY_FAILPOINTS"

// armed are the points of this process, read at the first one that is hit.
var armed = sync.OnceValue(func() *points {
	p, err := parse(os.Getenv(Variable))
	if err != nil {
		fmt.Fprintf(os.Stderr, "failpoint: %s: %v\n", Variable, err)
		os.Exit(2) //nolint:forbidigo // a test that breaks nothing by mistake would prove nothing
	}
	return p
})

// Hit is a named place in the code.
func Hit(name string) {
	action, first := armed().hit(name)
	if first {
		fmt.Fprintf(os.Stderr, "failpoint: %s: %s\n", name, action)
	}
	switch {
	case action.crash:
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // cannot fail
		select {}
	case action.stall > 0:
		time.Sleep(action.stall)
	}
}
