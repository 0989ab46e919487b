// Command rooms-unfenced is a rooms node whose journal compares no epochs: a writer that was overtaken goes on writing. It is
// there for a test that must find out.
package main

import (
	"context"
	"os"

	"github.com/parley-rt/parley/libs/persistence/persistencetest"
	"github.com/parley-rt/parley/services/rooms"
)

func main() {
	os.Exit(rooms.ProgramOver(persistencetest.Unfenced).Run(context.Background(), os.Args[1:]))
}
