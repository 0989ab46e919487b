package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	parley "github.com/parley-rt/parley/sdk/go"
)

type tailCommand struct {
	serverFlags
	Room    string  `arg:"" help:"Room to follow."`
	History int     `short:"n" help:"Begin with this many of the newest messages." default:"0"`
	After   *uint64 `help:"Begin with the first message after this seq; 0 is the oldest kept. Not with --history."`
	Count   int     `help:"End after this many messages, those of --history included; 0: never." default:"0"`
	JSON    bool    `help:"Print one JSON object per message."`
}

// Run executes the command.
func (c *tailCommand) Run(ctx context.Context, streams Streams) error {
	if c.After != nil && c.History > 0 {
		return errors.New("--history and --after both say where to begin: give one")
	}
	client, err := c.dial(ctx, streams.Err)
	if err != nil {
		return err
	}
	defer hangUp(client)
	show := printText
	if c.JSON {
		show = printJSON
	}
	printed := 0
	emit := func(m parley.Message) error {
		if err := show(streams.Out, m); err != nil {
			return err
		}
		if printed++; printed == c.Count {
			return errEnough
		}
		return nil
	}
	err = c.follow(ctx, client, emit, streams)
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// errEnough ends a tail that has printed what it was asked for.
var errEnough = errors.New("enough messages")

func (c *tailCommand) follow(ctx context.Context, client *parley.Client, emit func(parley.Message) error, streams Streams) error {
	room, err := joinWithHistory(ctx, client, c.Room, c.History, parley.JoinOptions{AfterSeq: c.After}, emit)
	if err != nil {
		return err
	}
	for message, err := range room.Messages(ctx) {
		var reset *parley.ResetError
		switch {
		case errors.As(err, &reset):
			say(streams.Err, "%v", reset)
			continue
		case err != nil:
			return err
		}
		if err := emit(message); err != nil {
			return err
		}
	}
	return nil
}

// joinWithHistory joins a room and hands the newest n messages before the stream's start to emit, oldest first. A page
// holds a part of them: pages are read backwards until there are n.
func joinWithHistory(ctx context.Context, client *parley.Client, id string, n int, opts parley.JoinOptions, emit func(parley.Message) error) (*parley.Room, error) {
	room, err := client.Join(ctx, id, opts)
	if err != nil {
		return nil, fmt.Errorf("join %s: %w", id, err)
	}
	var newest []parley.Message
	for before := room.Cursor().Seq + 1; len(newest) < n; before = newest[0].Seq {
		page, err := room.History(ctx, parley.HistoryOptions{BeforeSeq: before, Limit: min(n-len(newest), 500)})
		if err != nil {
			return nil, fmt.Errorf("history of %s: %w", id, err)
		}
		newest = append(page.Messages, newest...)
		if !page.More || len(newest) == 0 {
			break
		}
	}
	for _, message := range newest {
		if err := emit(message); err != nil {
			return nil, err
		}
	}
	return room, nil
}

func printText(w io.Writer, m parley.Message) error {
	_, err := fmt.Fprintf(w, "%s  #%-4d %s: %s\n", m.SentAt.Local().Format(time.TimeOnly), m.Seq, m.Sender, visible(m.Content))
	return err
}

// visible keeps a message from steering the reader's terminal.
func visible(content string) string {
	clean := []rune(content)
	for i, r := range clean {
		if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			clean[i] = '\uFFFD'
		}
	}
	return string(clean)
}

// visibleLines is visible for a text of several lines, such as an error that has somebody's words in it.
func visibleLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = visible(line)
	}
	return strings.Join(lines, "\n")
}

func printJSON(w io.Writer, m parley.Message) error {
	return json.NewEncoder(w).Encode(map[string]any{
		"room_id": m.RoomID, "seq": m.Seq, "prev_seq": m.PrevSeq, "sender": m.Sender, "message_id": m.MessageID,
		"sent_at": m.SentAt, "content": m.Content,
	})
}
