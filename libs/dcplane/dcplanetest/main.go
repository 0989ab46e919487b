package dcplanetest

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// waiting is how many tests run at a time. They spend their time waiting for leases, so one per processor, the default,
// would take minutes on a small machine.
const waiting = "12"

// Main runs a backend's tests, many at a time unless -parallel or -fuzz is given, and fails when they leave goroutines.
func Main(m *testing.M) {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" || f.Name == "test.fuzz" })
	if !chosen {
		if err := flag.Set("test.parallel", waiting); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	goleak.VerifyTestMain(m)
}
