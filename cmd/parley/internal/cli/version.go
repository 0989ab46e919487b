package cli

import (
	"encoding/json"
	"fmt"

	"github.com/parley-rt/parley/libs/opskit"
)

type versionCommand struct {
	JSON bool `help:"Print one JSON document."`
}

// Run executes the command.
func (c *versionCommand) Run(streams Streams) error {
	info := opskit.Version()
	if c.JSON {
		return json.NewEncoder(streams.Out).Encode(info)
	}
	_, err := fmt.Fprintf(streams.Out, "parley %s (commit %s, %s, %s)\n", info.Version, info.Commit, info.Go, info.Platform)
	return err
}
