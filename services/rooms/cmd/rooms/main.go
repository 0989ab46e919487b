// Command rooms is a rooms node of Parley. It is configured by variables PARLEY_…; rooms --help lists them.
package main

import (
	"context"
	"os"

	"github.com/parley-rt/parley/services/rooms"
)

func main() { os.Exit(rooms.Program().Run(context.Background(), os.Args[1:])) }
