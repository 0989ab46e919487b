package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/parley-rt/parley/cmd/parley/internal/barehub"
	"github.com/parley-rt/parley/cmd/parley/internal/bench"
	"github.com/parley-rt/parley/libs/opskit"
)

type benchCommand struct {
	All      benchAllCommand      `cmd:"" help:"Every scenario in turn, with the sizes that the budgets are about."`
	Fanout   benchFanoutCommand   `cmd:"" help:"One room, many members, one publisher: deliveries per server CPU second."`
	Rooms    benchRoomsCommand    `cmd:"" help:"Many rooms in which everybody publishes: deliveries per server CPU second."`
	Idle     benchIdleCommand     `cmd:"" help:"Connections that do nothing: memory and CPU of each."`
	Publish  benchPublishCommand  `cmd:"" help:"Publishers that wait: durable publishes per server CPU second."`
	Recovery benchRecoveryCommand `cmd:"" help:"Clients that come back at once and have missed messages: messages per server CPU second."`
	Storm    benchStormCommand    `cmd:"" help:"Clients that connect at once: CPU of each, and how long they wait."`
	Hub      benchHubCommand      `cmd:"" hidden:"" help:"Serve as the bare hub that the others are compared with."`
}

// benchFlags are common to all scenarios.
type benchFlags struct {
	URL        string        `help:"WebSocket address of a running server; default: start one on a fresh data directory." placeholder:"ws://…" env:"-"`
	PID        int           `help:"Process to charge CPU to; needed with --url." env:"-"`
	JournalURL opskit.Secret `name:"journal-url" help:"Journal of the server that is started: a Postgres on this machine, whose CPU is charged, too; default: SQLite." placeholder:"URL" env:"-"`
	DevFlags   []string      `name:"dev-flag" help:"Another flag for the server that is started, such as --dev-flag=--redis=URL." placeholder:"FLAG" env:"-"`
	Rounds     int           `help:"Turns of each server; the median counts." default:"1" env:"-"`
	Alone      bool          `help:"Leave the bare hub out." env:"-"`
	Payload    int           `help:"Bytes of content per message." default:"128" env:"-"`
	JSON       bool          `help:"Print one JSON document." env:"-" xor:"format"`
	Markdown   bool          `help:"Print one table for documentation." env:"-" xor:"format"`
}

// timeFlags are those of scenarios that last as long as one says.
type timeFlags struct {
	Warmup   time.Duration `help:"Load before counting begins." default:"2s" env:"-"`
	Duration time.Duration `help:"How long to count." default:"5s" env:"-"`
}

func (f *timeFlags) set(s *bench.Scenario) { s.Warmup, s.Duration = f.Warmup, f.Duration }

type benchAllCommand struct{ benchFlags }

// Run executes the command.
func (c *benchAllCommand) Run(ctx context.Context, streams Streams) error {
	return c.run(ctx, streams, bench.All()...)
}

type benchFanoutCommand struct {
	benchFlags
	timeFlags
	Connections int     `help:"Members of the room." default:"1000" env:"-"`
	Window      int     `help:"Unacknowledged publishes at most." default:"64" env:"-"`
	Rate        float64 `help:"Open loop: publishes per second, timed from when each was due. 0: closed loop." default:"0" env:"-"`
}

// Run executes the command.
func (c *benchFanoutCommand) Run(ctx context.Context, streams Streams) error {
	s := bench.Fanout()
	if c.Rate > 0 {
		s = bench.FanoutAt()
	}
	if c.Connections != s.Connections || c.Window != s.Window || c.Rate != s.Rate {
		s.Title = fmt.Sprintf("fan-out, 1 room × %d, window %d", c.Connections, c.Window)
		if c.Rate > 0 {
			s.Title = fmt.Sprintf("fan-out, 1 room × %d, %g publishes/s", c.Connections, c.Rate)
		}
	}
	s.Connections, s.Window, s.InFlight, s.Rate = c.Connections, c.Window, c.Window, c.Rate
	c.set(&s)
	return c.run(ctx, streams, s)
}

type benchRoomsCommand struct {
	benchFlags
	timeFlags
	Rooms    int `help:"Rooms." default:"500" env:"-"`
	Members  int `help:"Members of each room." default:"10" env:"-"`
	InFlight int `help:"Unacknowledged publishes over all." default:"1000" env:"-"`
}

// Run executes the command.
func (c *benchRoomsCommand) Run(ctx context.Context, streams Streams) error {
	s := bench.Rooms()
	s.Rooms, s.Connections, s.Publishers, s.InFlight = c.Rooms, c.Rooms*c.Members, c.Rooms*c.Members, c.InFlight
	s.Title = fmt.Sprintf("%d rooms × %d, everybody publishes, %d in flight", c.Rooms, c.Members, c.InFlight)
	c.set(&s)
	return c.run(ctx, streams, s)
}

type benchIdleCommand struct {
	benchFlags
	Connections int           `help:"Connections." default:"10000" env:"-"`
	Rooms       int           `help:"Rooms that they are spread over." default:"1" env:"-"`
	TLS         bool          `name:"tls" help:"Encrypted, with a certificate made for the run." env:"-"`
	Settle      time.Duration `help:"Time after the last has joined before idleness is measured." default:"5s" env:"-"`
	Duration    time.Duration `help:"How long to watch." default:"15s" env:"-"`
}

// Run executes the command.
func (c *benchIdleCommand) Run(ctx context.Context, streams Streams) error {
	s := bench.IdleConnections(c.Rooms)
	s.Connections, s.Warmup, s.Duration = c.Connections, c.Settle, c.Duration
	s.Title = fmt.Sprintf("%d idle connections over %d rooms", c.Connections, c.Rooms)
	if c.TLS {
		s.TLS, s.Budget.KiB = true, 14
		s.Title += ", TLS"
	}
	return c.run(ctx, streams, s)
}

type benchPublishCommand struct {
	benchFlags
	timeFlags
	Publishers int     `help:"Publishing connections." default:"64" env:"-"`
	Rooms      int     `help:"Rooms they are spread over; every member of a room receives its messages." default:"64" env:"-"`
	Window     int     `help:"Unacknowledged publishes of each at most." default:"1" env:"-"`
	Rate       float64 `help:"Open loop: publishes per second in all, timed from when each was due. 0: closed loop." default:"0" env:"-"`
}

// Run executes the command.
func (c *benchPublishCommand) Run(ctx context.Context, streams Streams) error {
	s := bench.Publish(c.Rooms, c.Window)
	if c.Publishers != s.Publishers || c.Rate > 0 {
		s.Title, s.Budget = fmt.Sprintf("%d publish into %d rooms", c.Publishers, c.Rooms), bench.Budget{}
	}
	s.Connections, s.Publishers, s.InFlight, s.Rate = c.Publishers, c.Publishers, c.Publishers*c.Window, c.Rate
	c.set(&s)
	return c.run(ctx, streams, s)
}

type benchRecoveryCommand struct {
	benchFlags
	Connections int `help:"Clients that come back." default:"1000" env:"-"`
	Rooms       int `help:"Rooms that they are spread over." default:"1" env:"-"`
	Missed      int `help:"Messages that each has missed." default:"1000" env:"-"`
}

// Run executes the command.
func (c *benchRecoveryCommand) Run(ctx context.Context, streams Streams) error {
	s := bench.Comeback(c.Rooms)
	s.Connections, s.Missed = c.Connections, c.Missed
	s.Title = fmt.Sprintf("%d come back to %d rooms, %d missed each", c.Connections, c.Rooms, c.Missed)
	return c.run(ctx, streams, s)
}

type benchStormCommand struct {
	benchFlags
	Connections int `help:"Clients that connect." default:"5000" env:"-"`
	Rooms       int `help:"Rooms that they are spread over." default:"100" env:"-"`
}

// Run executes the command.
func (c *benchStormCommand) Run(ctx context.Context, streams Streams) error {
	s := bench.Rush()
	s.Connections, s.Rooms = c.Connections, c.Rooms
	s.Title = fmt.Sprintf("%d connect and join at once", c.Connections)
	return c.run(ctx, streams, s)
}

type benchHubCommand struct {
	Listen string `default:"127.0.0.1:0" env:"-"`
	Tail   int    `default:"0" env:"-"`
}

// Run executes the command. The hub says where it is as `parley dev` does.
func (c *benchHubCommand) Run(ctx context.Context, streams Streams) error {
	return barehub.Run(ctx, barehub.Options{Listen: c.Listen, Tail: c.Tail}, func(addr string) {
		_, _ = fmt.Fprintf(streams.Out, "  websocket  ws://%s/ws\nready\n", addr)
	})
}

// errFaults is for scripts: figures with faults are none.
var errFaults = errors.New("messages were missing, came twice or were refused: see the report")

func (f *benchFlags) run(ctx context.Context, streams Streams, scenarios ...bench.Scenario) error {
	target := bench.Target{URL: f.URL, PID: f.PID, Args: f.DevFlags}
	journal := "SQLite"
	if url := f.JournalURL.Reveal(); url != "" {
		var err error
		if target.DatabasePID, err = bench.DatabaseProcess(ctx, url); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		target.Args = append(target.Args, "--journal", url)
		journal = "Postgres, whose CPU is charged, too"
	}
	if f.URL != "" {
		journal = "that of the server"
	}
	turns := len(scenarios) * max(1, f.Rounds)
	if !f.Alone {
		turns *= 2
	}
	progress := bench.NewProgress(streams.Err, turns)
	report := bench.Report{Machine: fmt.Sprintf("%s, %d processors, %s", runtime.Version(), runtime.NumCPU(), time.Now().Format(time.DateOnly)), Journal: journal}
	var faults uint64
	for _, s := range scenarios {
		s.Payload = f.Payload
		c, err := bench.Run(ctx, bench.Options{Target: target, Rounds: f.Rounds, Alone: f.Alone}, s, progress)
		if err != nil {
			progress.End()
			return fmt.Errorf("bench: %w", err)
		}
		report.Comparisons = append(report.Comparisons, c)
		faults += c.Faults
	}
	progress.End()
	if err := f.print(streams.Out, report); err != nil {
		return err
	}
	if faults > 0 {
		return errFaults
	}
	return nil
}

func (f *benchFlags) print(w io.Writer, report bench.Report) error {
	switch {
	case f.JSON:
		return report.WriteJSON(w)
	case f.Markdown:
		return report.WriteMarkdown(w)
	}
	return report.WriteTable(w)
}
