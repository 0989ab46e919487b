package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/parley-rt/parley/libs/persistence"
)

type journalCommand struct {
	Status   journalStatusCommand   `cmd:"" help:"Show the journal's schema, lanes, partitions and consumers."`
	Rotate   journalRotateCommand   `cmd:"" help:"Let new events go to another partition."`
	Drop     journalDropCommand     `cmd:"" help:"Delete old partitions that nobody needs any more."`
	Restored journalRestoredCommand `cmd:"" help:"Tell the journal that it was put back to an earlier state. No service may run."`
}

// maintain runs fn on the journal.
func (f journalFlags) maintain(ctx context.Context, streams Streams, fn func(persistence.Backend) error) error {
	at, err := f.locate()
	if err != nil {
		return err
	}
	b, err := at.OpenExisting(ctx, warnings(streams.Err))
	if err != nil {
		return interrupted(err)
	}
	return interrupted(errors.Join(fn(b), b.Close(context.WithoutCancel(ctx))))
}

type journalRotateCommand struct {
	journalFlags
	Part *int32 `help:"Number of the partition, above the current one's; default: days since 1970 (UTC)." placeholder:"N" env:"-"`
}

// Run executes the command.
func (c *journalRotateCommand) Run(ctx context.Context, streams Streams) error {
	part := today()
	if c.Part != nil {
		part = *c.Part
	}
	return c.maintain(ctx, streams, func(b persistence.Backend) error {
		if err := b.Rotate(ctx, part); err != nil {
			return err
		}
		partitions, err := b.Partitions(ctx)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(streams.Out, "new events go to partition %d\n", current(partitions))
		return err
	})
}

func current(partitions []persistence.Partition) int32 {
	for _, p := range partitions {
		if p.Current {
			return p.Part
		}
	}
	return 0
}

type journalDropCommand struct {
	journalFlags
	confirmFlag
	OlderThan days   `help:"Drop the partitions whose events are all older than so many days, by the numbers that rotate gives." placeholder:"30d" xor:"which" required:"" env:"-"`
	UpTo      *int32 `help:"Number of the newest partition to drop, however young its events are." placeholder:"N" xor:"which" required:"" env:"-"`
}

// Run executes the command.
func (c *journalDropCommand) Run(ctx context.Context, streams Streams) error {
	return c.maintain(ctx, streams, func(b persistence.Backend) error {
		partitions, err := b.Partitions(ctx)
		if err != nil {
			return err
		}
		upTo, found := newestBefore(partitions, today()-int32(c.OlderThan))
		if c.UpTo != nil {
			upTo, found = *c.UpTo, true
		}
		if !found {
			_, err = fmt.Fprintf(streams.Out, "no partition is older than %d days\n", c.OlderThan)
			return err
		}
		if newest := current(partitions); upTo >= newest {
			return fmt.Errorf("new events go to partition %d: drop older ones, or begin a new one with \"parley journal rotate\" first", newest)
		}
		if !c.Yes {
			return ask(streams, partitions, upTo)
		}
		dropped, err := b.DropPartitions(ctx, upTo)
		for _, part := range dropped {
			_, _ = fmt.Fprintf(streams.Out, "dropped partition %d\n", part)
		}
		var blocked *persistence.BlockedError
		switch {
		case errors.As(err, &blocked):
			showBlockers(streams, blocked)
			return fmt.Errorf("partition %d is still needed", blocked.Part)
		case err == nil && len(dropped) == 0:
			_, err = fmt.Fprintf(streams.Out, "there is no partition up to %d\n", upTo)
		}
		return err
	})
}

func ask(streams Streams, partitions []persistence.Partition, upTo int32) error {
	_, _ = fmt.Fprintln(streams.Err, "This deletes events for good, unless somebody still needs them:")
	rows := [][]any{{"PARTITION", "EVENTS (ABOUT)", "SIZE"}}
	for _, p := range partitions {
		if p.Part <= upTo {
			rows = append(rows, []any{p.Part, about(p.Rows), byteSize(p.Bytes)})
		}
	}
	if err := table(streams.Err, rows); err != nil {
		return err
	}
	return unconfirmed(fmt.Sprintf("drop partitions up to %d", upTo))
}

// showBlockers says who needs a partition and what ends that.
func showBlockers(streams Streams, blocked *persistence.BlockedError) {
	_, _ = fmt.Fprintf(streams.Err, "Partition %d stays, and so do newer ones.\n", blocked.Part)
	if blocked.Streams > 0 {
		_, _ = fmt.Fprintf(streams.Err, "%d streams have no snapshot beyond their events in it; a room saves one when it goes idle "+
			"after it was used, or is drained:\n", blocked.Streams)
		for _, key := range blocked.Keys {
			_, _ = fmt.Fprintf(streams.Err, "  %s\n", visible(string(key)))
		}
		if more := blocked.Streams - int64(len(blocked.Keys)); more > 0 {
			_, _ = fmt.Fprintf(streams.Err, "  and %d more\n", more)
		}
	}
	if len(blocked.Checkpoints) > 0 {
		_, _ = fmt.Fprintln(streams.Err, "These consumers have not read it to its end:")
		for _, name := range blocked.Checkpoints {
			_, _ = fmt.Fprintf(streams.Err, "  %s\n", visible(name))
		}
	}
}

type journalRestoredCommand struct {
	journalFlags
	confirmFlag
}

// Run executes the command.
func (c *journalRestoredCommand) Run(ctx context.Context, streams Streams) error {
	if !c.Yes {
		_, _ = fmt.Fprintln(streams.Err, `After the journal was put back to an earlier state, by a restore to a point in time or by the promotion of a standby that
lacked commits, messages that were acknowledged may be missing. This command tells it so: every room gets a new incarnation,
by which clients learn that messages may be lost; whoever wrote before cannot go on; places in the feed of before are
seen to be from another history. Stop every service on this journal, run it once, and start them again.
Where nothing was lost it does no harm but that every client reads its rooms anew.`)
		return unconfirmed("mark the journal as restored")
	}
	return c.maintain(ctx, streams, func(b persistence.Backend) error {
		streamCount, err := b.MarkRestored(ctx)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(streams.Out, `the journal is marked as restored: %d streams have no owner and a new incarnation, leases are free,
epochs, positions and stream ids go on %d higher. Services may start.
`, streamCount, int64(persistence.RestoreGap))
		return err
	})
}
