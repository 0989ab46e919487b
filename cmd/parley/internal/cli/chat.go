package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	parley "github.com/parley-rt/parley/sdk/go"
)

type chatCommand struct {
	serverFlags
	Room    string `arg:"" optional:"" help:"Room to talk in." default:"room-1"`
	History int    `short:"n" help:"Begin with this many of the newest messages." default:"20"`
}

const chatHelp = "type a line to say it; /who lists who is here; /quit or Ctrl-D leaves"

// Run executes the command.
func (c *chatCommand) Run(ctx context.Context, streams Streams) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	screen := &screen{w: streams.Out}
	client, err := c.dial(ctx, screen)
	if err != nil {
		return err
	}
	defer hangUp(client)
	room, err := joinWithHistory(ctx, client, c.Room, c.History, parley.JoinOptions{}, func(m parley.Message) error {
		return printText(screen, m)
	})
	if err != nil {
		return err
	}
	say(screen, "you are %s in %s", client.MemberID(), c.Room)
	say(screen, chatHelp)

	var display, publishes sync.WaitGroup
	defer display.Wait()
	defer cancel()
	received := make(chan error, 1)
	display.Go(func() { received <- showMessages(ctx, room, screen) })
	typed := readLines(ctx, streams.In)
	for {
		select {
		case err := <-received:
			return err
		case line, more := <-typed:
			if !more || line == "/quit" {
				publishes.Wait() // what was typed is durable, or its failure was shown
				return nil
			}
			if err := c.handle(ctx, room, screen, &publishes, line); err != nil {
				return err
			}
		}
	}
}

func (c *chatCommand) handle(ctx context.Context, room *parley.Room, screen io.Writer, publishes *sync.WaitGroup, line string) error {
	switch {
	case strings.TrimSpace(line) == "":
		return nil
	case line == "/who":
		presence, err := room.Presence(ctx)
		if err != nil {
			return fmt.Errorf("presence: %w", err)
		}
		names := make([]string, 0, len(presence.Members))
		for _, m := range presence.Members {
			names = append(names, m.MemberID)
		}
		say(screen, "%d here: %s", presence.Count, strings.Join(names, ", "))
		return nil
	case strings.HasPrefix(line, "/"):
		say(screen, chatHelp)
		return nil
	}
	pending, err := room.PublishAsync(ctx, line, parley.PublishOptions{})
	if err != nil {
		return err
	}
	publishes.Go(func() {
		if _, err := pending.Wait(); err != nil {
			say(screen, "not sent: %q: %v", line, err)
		}
	})
	return nil
}

// showMessages prints what the room says until ctx ends.
func showMessages(ctx context.Context, room *parley.Room, screen io.Writer) error {
	for message, err := range room.Messages(ctx) {
		var reset *parley.ResetError
		switch {
		case errors.As(err, &reset):
			say(screen, "%v", reset)
		case err != nil:
			return err
		default:
			if err := printText(screen, message); err != nil {
				return err
			}
		}
	}
	return nil
}

// readLines sends the lines of in until it ends. A read that blocks for ever outlives ctx: the process is about to end then.
func readLines(ctx context.Context, in io.Reader) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(in)
		for scanner.Scan() {
			select {
			case lines <- scanner.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	return lines
}

// screen lets several goroutines print whole lines.
type screen struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}
