package harness

import (
	"os/exec"
	"testing"
)

// Migrate brings a journal's schema up to date, as an operator would before the first service starts.
func Migrate(tb testing.TB, journalURL string) {
	tb.Helper()
	cmd := exec.Command(Build(tb), "migrate", "up", "--journal", journalURL)
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("parley migrate up: %v\n%s", err, out)
	}
}
