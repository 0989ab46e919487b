package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"text/tabwriter"

	"github.com/parley-rt/parley/cmd/parley/internal/journal"
	"github.com/parley-rt/parley/libs/opskit"
)

// journalFlags say which journal a command works on; they are those of dev.
type journalFlags struct {
	Journal opskit.Secret `help:"URL of the journal: postgres://… or sqlite://path; default: SQLite in --data." placeholder:"URL" env:"PARLEY_JOURNAL_URL"`
	Data    string        `help:"Directory of the process whose journal is SQLite." default:"./parley-data" type:"path" env:"PARLEY_DATA_DIR"`
}

func (f journalFlags) locate() (journal.Location, error) {
	return journal.Locate(f.Journal.Reveal(), f.Data)
}

// confirmFlag lets a command do what cannot be undone. It has no variable: what is set once must not agree to everything.
type confirmFlag struct {
	Yes bool `help:"Do it: without this the command says what it would do, and fails." env:"-"`
}

// unconfirmed ends a command that has said what it would do.
func unconfirmed(what string) error { return fmt.Errorf("nothing was done: %s with --yes", what) }

// interrupted is err for a command that did not do what it was asked to: unlike one that runs until it is stopped, it has
// failed when it is stopped.
func interrupted(err error) error {
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted: " + err.Error())
	}
	return err
}

// warnings shows what a journal has to say to whoever started the command.
func warnings(w io.Writer) *slog.Logger {
	return opskit.NewLogger(opskit.LogConfig{Level: slog.LevelWarn, Writer: w})
}

// table prints rows of cells in columns.
func table(w io.Writer, rows [][]any) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, cells := range rows {
		for i, cell := range cells {
			if i > 0 {
				_, _ = fmt.Fprint(t, "\t")
			}
			_, _ = fmt.Fprint(t, cell)
		}
		_, _ = fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// about writes an estimated number of events; 0 is also what a journal says that has not counted.
func about(rows int64) string {
	if rows == 0 {
		return "unknown"
	}
	return strconv.FormatInt(rows, 10)
}

// byteSize writes a size for people.
func byteSize(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	size, prefix := float64(n)/unit, 0
	for size >= unit && prefix < len("KMGTP")-1 {
		size /= unit
		prefix++
	}
	return fmt.Sprintf("%.1f %ciB", size, "KMGTP"[prefix])
}
