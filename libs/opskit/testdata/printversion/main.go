// Command printversion prints the build information as JSON for a test.
package main

import (
	"encoding/json"
	"os"

	"github.com/parley-rt/parley/libs/opskit"
)

func main() {
	if err := json.NewEncoder(os.Stdout).Encode(opskit.Version()); err != nil {
		os.Exit(1)
	}
}
