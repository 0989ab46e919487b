// Package reference keeps the generated pages of docs/reference equal to their sources.
package reference

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/libs/protocol/codes"
)

var update = flag.Bool("update", false, "write the pages instead of comparing them")

// The codes that clients see are listed as the one enum defines them: go test ./e2e/reference -update.
func TestCodesPage(t *testing.T) {
	t.Parallel()
	root, err := harness.Root()
	require.NoError(t, err)
	path := filepath.Join(root, "docs", "reference", "codes.md")
	want := "# Codes\n\nGenerated from the enums in `libs/protocol/client/v1/client.proto`: `go test ./e2e/reference -update`.\n\n" + codes.Markdown()
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o600))
		return
	}
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, string(got))
}
