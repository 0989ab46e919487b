// Command rooms-unfenced is a rooms node whose journal compares no epochs: a writer that was overtaken goes on writing. It is
// there for a test that must find out.
package main

import (
	"context"
	"os"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/persistencetest"
	"github.com/parley-rt/parley/services/rooms"
)

func main() {
	os.Exit(rooms.ProgramOver(unprotected).Run(context.Background(), os.Args[1:]))
}

func unprotected(b persistence.Backend) persistence.Backend {
	return &slow{persistencetest.Unfenced(b)}
}

// appendDelay keeps a batch of every busy room on its way, so that one that is frozen at any moment holds writes which it sends
// when it comes back, before it can hear that others own its rooms.
const appendDelay = 100 * time.Millisecond

type slow struct{ persistence.Backend }

// Append implements persistence.Backend.
func (s *slow) Append(ctx context.Context, c persistence.Claim, expected uint64, events []persistence.Event) (uint64, error) {
	time.Sleep(appendDelay)
	return s.Backend.Append(ctx, c, expected, events)
}
