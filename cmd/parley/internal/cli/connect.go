package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	parley "github.com/parley-rt/parley/sdk/go"
)

// serverFlags say where the client commands connect to.
type serverFlags struct {
	Server  string        `help:"WebSocket address of a gateway." default:"ws://127.0.0.1:8080/ws"`
	Connect time.Duration `help:"How long to try for the first connection." default:"10s"`
	memberFlags
}

// dial connects and reports every change of the connection to status.
func (f serverFlags) dial(ctx context.Context, status io.Writer) (*parley.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, f.Connect)
	defer cancel()
	httpClient, err := f.httpClient()
	if err != nil {
		return nil, err
	}
	var last error
	first := true
	client, err := parley.Dial(ctx, f.Server, parley.Config{
		GetToken: f.getToken(), Binary: f.Binary, HTTPClient: httpClient,
		OnState: func(change parley.StateChange) {
			if change.Err != nil {
				last = change.Err
			}
			switch {
			case change.State == parley.Connected && first:
				first = false
			case change.State == parley.Connected:
				say(status, "connected again")
			case change.State == parley.Connecting && change.Err != nil && !first:
				say(status, "connection lost (%v), trying again in %s", change.Err, change.RetryIn.Round(100*time.Millisecond))
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w (is `parley dev` running?)", f.Server, errors.Join(err, last))
	}
	return client, nil
}

// hangUp closes a client in good order, for a moment.
func hangUp(client *parley.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = client.Close(ctx)
}

// say prints a line of the program's own, set apart from messages.
func say(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(w, "· "+format+"\n", args...)
}
