package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Report is all that was run.
type Report struct {
	Machine     string       `json:"machine"`
	Journal     string       `json:"journal"`
	Comparisons []Comparison `json:"comparisons"`
}

// WriteJSON prints the report as one JSON document.
func (r Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// WriteMarkdown prints one table for documentation.
func (r Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, journal: %s\n\n", r.Machine, r.Journal)
	b.WriteString("| scenario | rate | per server CPU second | bare hub | ratio | budget | | p50 / p99 / p99.9 ms | generator busy |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, c := range r.Comparisons {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %.0f %%%s |\n", c.Title, c.rate(c.Parley), c.cost(c.Parley), c.bare(),
			c.ratio(), c.budget(), c.verdict(), c.latency(c.Parley), 100*c.Parley.ClientBusy, c.limit())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteTable prints the report for a reader.
func (r Report) WriteTable(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name string, parley, bare any) { _, _ = fmt.Fprintf(table, "%s\t%v\t%v\n", name, parley, bare) }
	for i, c := range r.Comparisons {
		if i > 0 {
			row("", "", "")
		}
		row(c.Title, "parley", c.name())
		both := func(name string, value func(Result) string) {
			bare := ""
			if c.BareHub != nil {
				bare = value(*c.BareHub)
			}
			if parley := value(c.Parley); parley != "" {
				row(name, parley, bare)
			}
		}
		both("rate", c.rate)
		both("per server CPU second", c.cost)
		both("CPU seconds", func(r Result) string {
			text := fmt.Sprintf("server %.2f", r.ServerCPUSeconds)
			if r.DatabaseCPUSeconds > 0 {
				text += fmt.Sprintf(", database %.2f", r.DatabaseCPUSeconds)
			}
			return text + fmt.Sprintf(", client %.2f of %.1f s", r.ClientCPUSeconds, r.Seconds)
		})
		for _, p := range []struct {
			name string
			of   func(Result) *Percentiles
		}{
			{"acknowledged, ms", func(r Result) *Percentiles { return r.Ack }},
			{"delivered, ms", func(r Result) *Percentiles { return r.Delivery }},
			{"connected and joined, ms", func(r Result) *Percentiles { return r.Open }},
			{"recovered, ms", func(r Result) *Percentiles { return r.Recovery }},
			{"generator late, ms", func(r Result) *Percentiles { return r.Lag }},
		} {
			both(p.name, func(r Result) string { return p.of(r).String() })
		}
		both("memory", func(r Result) string { return fmt.Sprintf("%.0f MiB", r.ServerResidentMiB) })
		both("sent away at the door", func(r Result) string { return some(r.Retries) })
		both("gaps or repeats, refusals", func(r Result) string { return fmt.Sprintf("%d, %d", r.Gaps, r.Refused) })
		both("generator busy", func(r Result) string { return fmt.Sprintf("%.0f %%", 100*r.ClientBusy) })
		if c.Ratio > 0 {
			row("ratio", fmt.Sprintf("%.2f", c.Ratio), "")
		}
		if c.Met != nil || c.weakHub() {
			row("budget", c.budget()+": "+c.verdict(), "")
		}
		if c.Parley.ClientBound {
			row("note", "the generator was busy nearly always: rates and latencies are its limit, CPU per unit of work is not", "")
		}
	}
	return table.Flush()
}

func some(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// String prints percentiles in milliseconds; nothing for none.
func (p *Percentiles) String() string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf("p50 %.2f  p99 %.2f  p99.9 %.2f  max %.2f", p.P50, p.P99, p.P999, p.Max)
}

func (c Comparison) name() string {
	if c.BareHub == nil {
		return ""
	}
	return "bare hub"
}

func (c Comparison) rate(r Result) string {
	switch c.Unit {
	case Deliveries:
		return short(r.DeliveredPerSecond) + " deliveries/s"
	case Acknowledged:
		return fmt.Sprintf("%s acknowledged/s, %s deliveries/s", short(r.PublishedPerSecond), short(r.DeliveredPerSecond))
	case Recovered:
		return fmt.Sprintf("all after %.2f s", r.Seconds)
	default:
		if r.KiBLater > 0 {
			return fmt.Sprintf("%d connections", c.Connections)
		}
		return short(r.OpenedPerSecond) + " connections/s"
	}
}

func (c Comparison) cost(r Result) string {
	switch {
	case r.KiBLater > 0:
		return fmt.Sprintf("%.1f KiB each, %.1f when just joined; %.0f µs to open, %.1f µs a second", r.KiBLater, r.KiBJoined, r.ConnectMicros, r.IdleMicros)
	case r.Opened > 0:
		return fmt.Sprintf("%s opened, %.0f µs each", short(r.PerCPU), r.ServerCPUSeconds/float64(r.Opened)*1e6)
	}
	return short(r.PerCPU) + " " + string(c.Unit)
}

func (c Comparison) bare() string {
	if c.BareHub == nil {
		return "–"
	}
	return c.cost(*c.BareHub)
}

func (c Comparison) ratio() string {
	if c.Ratio == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", c.Ratio)
}

func (c Comparison) budget() string {
	var parts []string
	if c.Budget.Ratio > 0 {
		parts = append(parts, fmt.Sprintf("≥ %.2f of the bare hub", c.Budget.Ratio))
	}
	if c.Budget.PerCPU > 0 {
		parts = append(parts, "≥ "+short(c.Budget.PerCPU)+" per CPU second")
	}
	if c.Budget.KiB > 0 {
		parts = append(parts, fmt.Sprintf("≤ %.0f KiB", c.Budget.KiB))
	}
	return strings.Join(parts, ", ")
}

func (c Comparison) verdict() string {
	switch {
	case c.Faults > 0:
		return fmt.Sprintf("**%d faults**", c.Faults)
	case c.weakHub():
		return "not told: the bare hub reached less than " + short(c.Budget.BareHubPerCPU)
	case c.Met == nil:
		return ""
	case *c.Met:
		return "met"
	}
	return "**missed**"
}

func (c Comparison) limit() string {
	if c.Parley.ClientBound {
		return ", the limit"
	}
	return ""
}

func (c Comparison) latency(r Result) string {
	name, p := "acknowledged", r.Ack
	switch {
	case c.Unit == Deliveries && r.Delivery != nil:
		name, p = "delivered", r.Delivery
	case r.Recovery != nil:
		name, p = "recovered", r.Recovery
	case r.Open != nil && p == nil:
		name, p = "joined", r.Open
	}
	if p == nil {
		return "–"
	}
	return fmt.Sprintf("%s %.2f / %.2f / %.2f", name, p.P50, p.P99, p.P999)
}

// short prints a count with three digits.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.2f M", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%.1f k", v/1e3)
	}
	return fmt.Sprintf("%.0f", v)
}
