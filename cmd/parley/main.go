// Command parley runs and talks to Parley: durable real-time rooms over WebSocket.
package main

import (
	"os"

	"github.com/parley-rt/parley/cmd/parley/internal/cli"
)

func main() {
	os.Exit(cli.Run(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
