// Package cli is the parley command: its grammar and what its commands share.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/parley-rt/parley/libs/opskit"
)

// Streams are where the commands read and write.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// grammar is the command line.
type grammar struct {
	Dev      devCommand      `cmd:"" help:"Run all of Parley in this process, with nothing installed."`
	Chat     chatCommand     `cmd:"" help:"Talk in a room from the terminal."`
	Publish  publishCommand  `cmd:"" help:"Publish messages to a room and wait until they are durable."`
	Tail     tailCommand     `cmd:"" help:"Follow a room and print its messages."`
	Room     roomCommand     `cmd:"" help:"Look at a room, change its settings, moderate it, through the API for administrators."`
	Member   memberCommand   `cmd:"" help:"Block members from everything, through the API for administrators."`
	Schedule scheduleCommand `cmd:"" help:"Publish messages at a time, after a delay or by cron, through the API for administrators."`
	Token    tokenCommand    `cmd:"" help:"Make a token for a member, or for an administrator of rooms."`
	Journal  journalCommand  `cmd:"" help:"Look after the journal: status, partitions, restores."`
	Migrate  migrateCommand  `cmd:"" help:"Change the journal's schema: up, down, status."`
	Bench    benchCommand    `cmd:"" help:"Load a server and report rates, latencies and CPU cost."`
	Version  versionCommand  `cmd:"" help:"Print the version."`
}

// Run parses the arguments, runs the command and returns the process's exit code. Every flag can also be set by a
// variable PARLEY_… and in the YAML file named by --config. SIGINT and SIGTERM end the command's context; a second one
// ends the process.
func Run(args []string, streams Streams) int {
	parsed, err := opskit.Load(&grammar{}, args, opskit.LoadOptions{
		Name:        "parley",
		Description: "Durable real-time rooms over WebSocket. Begin with: parley dev",
		Stdout:      streams.Out,
		KnownEnv:    func(name string) bool { return strings.HasPrefix(name, "PARLEY_E2E_") }, // of the tests that run us
		Parser:      []kong.Option{kong.ConfigureHelp(kong.HelpOptions{Compact: true})},
	})
	switch {
	case errors.Is(err, opskit.ErrHelp):
		return 0
	case err != nil:
		_, _ = fmt.Fprintf(streams.Err, "parley: %s\nparley --help lists commands and flags\n", visibleLines(err.Error()))
		return 2
	}
	ctx, stop := opskit.NotifyContext(context.Background())
	defer stop()
	parsed.BindTo(ctx, (*context.Context)(nil))
	if err := parsed.Run(streams); err != nil && !errors.Is(err, context.Canceled) {
		_, _ = fmt.Fprintln(streams.Err, "parley:", visibleLines(err.Error()))
		if errors.As(err, new(usageError)) {
			return 2
		}
		return 1
	}
	return 0
}
