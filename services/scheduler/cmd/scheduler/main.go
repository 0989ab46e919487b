// Command scheduler is a scheduler node of Parley. It is configured by variables PARLEY_…; scheduler --help lists them.
package main

import (
	"context"
	"os"

	"github.com/parley-rt/parley/services/scheduler"
)

func main() { os.Exit(scheduler.Program().Run(context.Background(), os.Args[1:])) }
