package benchtest

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// Target is what a figure should be.
type Target struct {
	limit   float64
	atLeast bool
	unit    string
	digits  int
}

// AtLeast is met by figures of limit and above.
func AtLeast(limit float64) Target { return Target{limit: limit, atLeast: true, digits: 2} }

// AtMost is met by figures of limit and below.
func AtMost(limit float64) Target { return Target{limit: limit, digits: 2} }

// In says the unit of figure and limit, and how many digits after the point tell something.
func (t Target) In(unit string, digits int) Target {
	t.unit, t.digits = " "+unit, digits
	return t
}

func (t Target) met(figure float64) bool {
	if t.atLeast {
		return figure >= t.limit
	}
	return figure <= t.limit
}

func (t Target) String() string {
	sign := "≤"
	if t.atLeast {
		sign = "≥"
	}
	return fmt.Sprintf("%s %g%s", sign, t.limit, t.unit)
}

// Table collects rows. Not safe for concurrent use.
type Table struct{ rows []row }

type row struct {
	name           string
	target         Target
	figure         float64
	byCPU          float64
	server, client float64
	note           string
}

// Add adds a row: its figure and, if the loads are of events, what each cost. The note says in absolute terms what the
// figure was made of.
func (t *Table) Add(name string, target Target, figure float64, cost []Load, note string) {
	r := row{name: name, target: target, figure: figure, byCPU: math.NaN(), server: math.NaN(), client: math.NaN(), note: note}
	if len(cost) > 0 {
		r.server, r.client = Median(cost, Load.ServerMicros), Median(cost, Load.ClientMicros)
	}
	t.rows = append(t.rows, r)
}

// Rate adds a row for the ratio of two rates. Beside it stands the ratio of what could be done with the same CPU time, which
// does not depend on how much of it the machine's other work left to each.
func (t *Table) Rate(name string, target Target, own, reference []Load, note string) {
	t.Add(name, target, Ratio(own, reference, Load.Rate), own, note)
	t.rows[len(t.rows)-1].byCPU = Ratio(reference, own, Load.Micros)
}

// Print writes the table in Markdown, unless it is empty.
func (t *Table) Print(w io.Writer) error {
	if len(t.rows) == 0 {
		return nil
	}
	var out strings.Builder
	out.WriteString("\n| what | measured | target | | by CPU time | server µs/ev | client µs/ev | in this run |\n|---|---|---|---|---|---|---|---|\n")
	for _, r := range t.rows {
		verdict := "met"
		if !r.target.met(r.figure) {
			verdict = "**missed**"
		}
		fmt.Fprintf(&out, "| %s | %.*f%s | %s | %s | %s | %s | %s | %s |\n",
			r.name, r.target.digits, r.figure, r.target.unit, r.target, verdict, cell(r.byCPU, 2), cell(r.server, 1), cell(r.client, 1), r.note)
	}
	if _, err := io.WriteString(w, out.String()); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	return nil
}

// cell leaves out what was not measured.
func cell(v float64, digits int) string {
	if math.IsNaN(v) || v == 0 {
		return "–"
	}
	return fmt.Sprintf("%.*f", digits, v)
}
