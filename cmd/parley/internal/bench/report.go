package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is the outcome of one run. Rates are per second of wall time, costs per unit of work.
type Report struct {
	Scenario    string  `json:"scenario"`
	Connections int     `json:"connections"`
	Rooms       int     `json:"rooms"`
	Window      int     `json:"window,omitempty"`
	Rate        float64 `json:"rate,omitempty"`
	PayloadSize int     `json:"payload_bytes"`
	Seconds     float64 `json:"seconds"`

	Published  uint64 `json:"published"`
	Delivered  uint64 `json:"delivered"`
	Refused    uint64 `json:"refused"`
	Misordered uint64 `json:"gaps_or_repeats"`

	PublishedPerSecond float64 `json:"published_per_second"`
	DeliveredPerSecond float64 `json:"delivered_per_second"`

	ServerCPUSeconds   float64 `json:"server_cpu_seconds"`
	ClientCPUSeconds   float64 `json:"client_cpu_seconds"`
	DeliveredPerCPU    float64 `json:"deliveries_per_server_cpu_second"`
	AcknowledgedPerCPU float64 `json:"acknowledged_per_server_cpu_second"`
	ServerResidentMiB  float64 `json:"server_resident_mib"`

	AckMillis      Percentiles `json:"ack_milliseconds"`
	DeliveryMillis Percentiles `json:"delivery_milliseconds"`
	// ClientBound says that the generator itself may have been the limit: it used more CPU than the server.
	ClientBound bool `json:"client_bound"`
}

// Percentiles of a latency, in milliseconds.
type Percentiles struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
	Max  float64 `json:"max"`
}

func percentiles(h *hdrhistogram.Histogram) Percentiles {
	at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1000 }
	return Percentiles{P50: at(50), P99: at(99), P999: at(99.9), Max: float64(h.Max()) / 1000}
}

// newHistogram holds microseconds from 1 to one minute.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, time.Minute.Microseconds(), 3)
}

// finish computes what follows from the counts.
func (r *Report) finish() {
	per := func(count uint64, seconds float64) float64 {
		if seconds <= 0 {
			return 0
		}
		return float64(count) / seconds
	}
	r.PublishedPerSecond = per(r.Published, r.Seconds)
	r.DeliveredPerSecond = per(r.Delivered, r.Seconds)
	r.DeliveredPerCPU = per(r.Delivered, r.ServerCPUSeconds)
	r.AcknowledgedPerCPU = per(r.Published, r.ServerCPUSeconds)
	r.ClientBound = r.ClientCPUSeconds > r.ServerCPUSeconds
}

// WriteJSON prints the report as one JSON document.
func (r Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// WriteTable prints the report for a reader.
func (r Report) WriteTable(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(table, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	mode := fmt.Sprintf("closed loop, window %d", r.Window)
	if r.Rate > 0 {
		mode = fmt.Sprintf("open loop, %.0f publishes/s", r.Rate)
	}
	row("scenario", "%s: %d rooms, %d connections, %d B, %s, %.1f s", r.Scenario, r.Rooms, r.Connections, r.PayloadSize, mode, r.Seconds)
	row("acknowledged", "%.0f /s", r.PublishedPerSecond)
	row("delivered", "%.0f /s", r.DeliveredPerSecond)
	row("server CPU", "%.2f s (client %.2f s)", r.ServerCPUSeconds, r.ClientCPUSeconds)
	row("per server CPU second", "%.0f deliveries, %.0f acknowledged publishes", r.DeliveredPerCPU, r.AcknowledgedPerCPU)
	row("ack latency", "p50 %.2f  p99 %.2f  p99.9 %.2f  max %.2f ms", r.AckMillis.P50, r.AckMillis.P99, r.AckMillis.P999, r.AckMillis.Max)
	row("delivery latency", "p50 %.2f  p99 %.2f  p99.9 %.2f  max %.2f ms", r.DeliveryMillis.P50, r.DeliveryMillis.P99, r.DeliveryMillis.P999, r.DeliveryMillis.Max)
	row("server memory", "%.0f MiB resident", r.ServerResidentMiB)
	row("refused", "%d", r.Refused)
	row("gaps or repeats", "%d", r.Misordered)
	if r.ClientBound {
		row("note", "the load generator used more CPU than the server: it may have been the limit")
	}
	return table.Flush()
}
