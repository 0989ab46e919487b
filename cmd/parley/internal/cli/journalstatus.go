package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/parley-rt/parley/cmd/parley/internal/journal"
)

type journalStatusCommand struct {
	journalFlags
	JSON bool `help:"Print one JSON document."`
}

// Run executes the command.
func (c *journalStatusCommand) Run(ctx context.Context, streams Streams) error {
	at, err := c.locate()
	if err != nil {
		return err
	}
	status, err := at.ReadStatus(ctx)
	if err != nil {
		return interrupted(err)
	}
	if c.JSON {
		return json.NewEncoder(streams.Out).Encode(status)
	}
	return printJournalStatus(streams.Out, status)
}

func printJournalStatus(w io.Writer, s journal.Status) error {
	lanes := [][]any{{"LANE", "POSITION", "TRIMMED UP TO"}}
	for _, l := range s.Lanes {
		lanes = append(lanes, []any{l.Lane, l.Position, l.TrimmedPosition})
	}
	partitions := [][]any{{"PARTITION", "EVENTS (ABOUT)", "SIZE", ""}}
	for _, p := range s.Partitions {
		mark := ""
		if p.Current {
			mark = "current"
		}
		partitions = append(partitions, []any{p.Partition, about(p.Rows), byteSize(p.Bytes), mark})
	}
	consumers := [][]any{{"CONSUMER", "LANE", "POSITION", "BEHIND", "OWNER"}}
	for _, c := range s.Checkpoints {
		consumers = append(consumers, []any{visible(c.Consumer), c.Lane, c.Position, c.Lag, visible(c.Owner)})
	}
	if len(s.Checkpoints) == 0 {
		consumers = [][]any{{"no consumers"}}
	}
	_, _ = fmt.Fprintf(w, "journal  %s\nbackend  %s\nschema   version %d\n", s.Journal, s.Backend, s.SchemaVersion)
	for _, rows := range [][][]any{lanes, partitions, consumers} {
		if _, err := fmt.Fprintln(w); err != nil {
			return fmt.Errorf("print: %w", err)
		}
		if err := table(w, rows); err != nil {
			return err
		}
	}
	return nil
}
