package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"

	parley "github.com/parley-rt/parley/sdk/go"
)

type publishCommand struct {
	serverFlags
	Room      string   `arg:"" help:"Room to publish to."`
	Content   []string `arg:"" optional:"" help:"Messages; without any, each line of the standard input is one."`
	MessageID string   `help:"Id of the one message given: publishing it again within two minutes stores it once (needs the same session)."`
	Quiet     bool     `short:"q" help:"Do not print the seq of each message."`
}

// Run executes the command. It returns once every message is durable.
func (c *publishCommand) Run(ctx context.Context, streams Streams) error {
	if c.MessageID != "" && len(c.Content) != 1 {
		return fmt.Errorf("--message-id needs exactly one message, there are %d", len(c.Content))
	}
	client, err := c.dial(ctx, streams.Err)
	if err != nil {
		return err
	}
	defer hangUp(client)
	room, err := client.Join(ctx, c.Room, parley.JoinOptions{})
	if err != nil {
		return fmt.Errorf("join %s: %w", c.Room, err)
	}
	out := streams.Out
	if c.Quiet {
		out = io.Discard
	}
	if len(c.Content) > 0 {
		return publishAll(ctx, room, c.MessageID, c.Content, out)
	}
	return publishLines(ctx, room, streams.In, out)
}

func publishAll(ctx context.Context, room *parley.Room, messageID string, contents []string, out io.Writer) error {
	for _, content := range contents {
		ack, err := room.Publish(ctx, content, parley.PublishOptions{MessageID: messageID})
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, ack.Seq); err != nil {
			return err
		}
	}
	return nil
}

// publishLines keeps many publishes outstanding; their acks are printed in order.
func publishLines(ctx context.Context, room *parley.Room, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	started := make(chan *parley.Pending, 64)
	printed := make(chan error, 1)
	go func() {
		printed <- printAcks(started, out, cancel)
	}()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	var failed error
	for lines.Scan() {
		var pending *parley.Pending
		if pending, failed = room.PublishAsync(ctx, lines.Text(), parley.PublishOptions{}); failed != nil {
			break
		}
		started <- pending
	}
	close(started)
	if err := <-printed; err != nil {
		return err
	}
	if failed == nil && lines.Err() != nil {
		failed = fmt.Errorf("read standard input: %w", lines.Err())
	}
	return failed
}

// printAcks prints the seq of each publish as it becomes durable. After a failure it ends the others and waits for them.
func printAcks(started <-chan *parley.Pending, out io.Writer, cancel context.CancelCauseFunc) error {
	var failed error
	for pending := range started {
		ack, err := pending.Wait()
		if err == nil && failed == nil {
			_, err = fmt.Fprintln(out, ack.Seq)
		}
		if err != nil && failed == nil {
			failed = err
			cancel(err)
		}
	}
	return failed
}
