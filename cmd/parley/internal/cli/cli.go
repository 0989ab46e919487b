// Package cli is the parley command: its grammar and what its commands share.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// Streams are where the commands read and write.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// grammar is the command line.
type grammar struct {
	Dev     devCommand     `cmd:"" help:"Run all of Parley in this process, with nothing installed."`
	Chat    chatCommand    `cmd:"" help:"Talk in a room from the terminal."`
	Publish publishCommand `cmd:"" help:"Publish messages to a room and wait until they are durable."`
	Tail    tailCommand    `cmd:"" help:"Follow a room and print its messages."`
	Bench   benchCommand   `cmd:"" help:"Load a server and report rates, latencies and CPU cost."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

// Run parses the arguments, runs the command and returns the process's exit code. SIGINT and SIGTERM end the command's
// context; a second one ends the process.
func Run(args []string, streams Streams) int {
	exit := -1
	parser, err := kong.New(&grammar{},
		kong.Name("parley"),
		kong.Description("Durable real-time rooms over WebSocket. Begin with: parley dev"),
		kong.Writers(streams.Out, streams.Err),
		kong.Exit(func(code int) { exit = code }),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		_, _ = fmt.Fprintln(streams.Err, "parley:", err)
		return 2
	}
	parsed, err := parser.Parse(args)
	if exit >= 0 { // help was printed
		return exit
	}
	if err != nil {
		parser.FatalIfErrorf(err)
		return max(exit, 2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from then on a signal has its default effect again
	parsed.BindTo(ctx, (*context.Context)(nil))
	if err := parsed.Run(streams); err != nil && !errors.Is(err, context.Canceled) {
		_, _ = fmt.Fprintln(streams.Err, "parley:", err)
		return 1
	}
	return 0
}
