package pgtest

import (
	"context"
	"fmt"
	"os"
	"testing"
)

// Suite runs a package's tests with one cluster that they share, each in a schema of its own. It ends the cluster before
// anybody looks for leaks:
//
//	var cluster *pgtest.Cluster
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Suite{M: m, Cluster: &cluster}) }
type Suite struct {
	M *testing.M
	// Cluster is set before the first test.
	Cluster **Cluster
}

// Run returns the exit code of the tests, or 1 when the cluster could not be started or stopped.
func (s Suite) Run() (code int) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	c, err := New(ctx, Options{})
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	*s.Cluster = c
	code = s.M.Run()
	if err := c.Close(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
