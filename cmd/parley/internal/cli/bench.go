package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/parley-rt/parley/cmd/parley/internal/bench"
)

type benchCommand struct {
	Fanout  fanoutCommand       `cmd:"" help:"One room, many members, one publisher: deliveries per server CPU second."`
	Publish benchPublishCommand `cmd:"" help:"Many publishers, each in a room of its own: durable publishes per server CPU second."`
}

// loadFlags are common to all scenarios.
type loadFlags struct {
	URL      string        `help:"WebSocket address of a running server; default: start one on a fresh data directory." placeholder:"ws://…"`
	PID      int           `help:"Process to charge CPU to; needed with --url."`
	Payload  int           `help:"Bytes of content per message." default:"128"`
	Rate     float64       `help:"Open loop: publishes per second in all, timed from when each was due. 0: closed loop." default:"0"`
	Warmup   time.Duration `help:"Load before counting begins." default:"2s"`
	Duration time.Duration `help:"How long to count." default:"6s"`
	JSON     bool          `help:"Print one JSON document."`
}

type fanoutCommand struct {
	loadFlags
	Connections int `help:"Members of the room." default:"1000"`
	Window      int `help:"Unacknowledged publishes at most." default:"64"`
}

// Run executes the command.
func (c *fanoutCommand) Run(ctx context.Context, streams Streams) error {
	return c.run(ctx, streams, bench.Scenario{
		Name: "fanout", Rooms: 1, Connections: c.Connections, Publishers: 1, Window: c.Window,
	})
}

type benchPublishCommand struct {
	loadFlags
	Publishers int `help:"Publishing connections." default:"64"`
	Rooms      int `help:"Rooms they are spread over; every member of a room receives its messages." default:"64"`
	Window     int `help:"Unacknowledged publishes of each at most." default:"1"`
}

// Run executes the command.
func (c *benchPublishCommand) Run(ctx context.Context, streams Streams) error {
	return c.run(ctx, streams, bench.Scenario{
		Name: "publish", Rooms: c.Rooms, Connections: c.Publishers, Publishers: c.Publishers, Window: c.Window,
	})
}

func (f loadFlags) run(ctx context.Context, streams Streams, s bench.Scenario) error {
	s.Payload, s.Rate, s.Warmup, s.Duration = f.Payload, f.Rate, f.Warmup, f.Duration
	report, err := bench.Run(ctx, bench.Target{URL: f.URL, PID: f.PID}, s, streams.Err)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return printReport(streams.Out, report, f.JSON)
}

func printReport(w io.Writer, report bench.Report, asJSON bool) error {
	if asJSON {
		return report.WriteJSON(w)
	}
	return report.WriteTable(w)
}
