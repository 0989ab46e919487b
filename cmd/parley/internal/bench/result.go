package bench

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is the outcome of one run against one server. Rates are per second of wall time, costs per unit of work.
type Result struct {
	Seconds float64 `json:"seconds"`

	Published uint64 `json:"published"`
	Delivered uint64 `json:"delivered"`
	Opened    uint64 `json:"opened,omitempty"`
	Refused   uint64 `json:"refused"`
	Gaps      uint64 `json:"gaps_or_repeats"`
	// Retries counts connections that were sent away and came back when they were told to.
	Retries uint64 `json:"connects_sent_away,omitempty"`

	PublishedPerSecond float64 `json:"published_per_second"`
	DeliveredPerSecond float64 `json:"delivered_per_second"`
	OpenedPerSecond    float64 `json:"opened_per_second,omitempty"`

	ServerCPUSeconds   float64 `json:"server_cpu_seconds"`
	DatabaseCPUSeconds float64 `json:"database_cpu_seconds,omitempty"`
	ClientCPUSeconds   float64 `json:"client_cpu_seconds"`
	// PerCPU is units of work per second of CPU of the server and its database.
	PerCPU            float64 `json:"work_per_server_cpu_second"`
	ServerResidentMiB float64 `json:"server_resident_mib"`

	Ack      *Percentiles `json:"ack_milliseconds,omitempty"`
	Delivery *Percentiles `json:"delivery_milliseconds,omitempty"`
	// Open is from the first attempt to connect until the room is joined, the time sent away included.
	Open *Percentiles `json:"open_milliseconds,omitempty"`
	// Recovery is from the first attempt to connect until everything missed is there.
	Recovery *Percentiles `json:"recovery_milliseconds,omitempty"`
	// Lag is how late the generator itself published.
	Lag *Percentiles `json:"generator_lag_milliseconds,omitempty"`

	KiBJoined float64 `json:"kib_per_connection_joined,omitempty"`
	KiBLater  float64 `json:"kib_per_connection_later,omitempty"`
	// ConnectMicros is CPU time of the server for each connection that is opened and joins; IdleMicros for each that idles, per second.
	ConnectMicros float64 `json:"connect_cpu_microseconds,omitempty"`
	IdleMicros    float64 `json:"idle_cpu_microseconds_per_second,omitempty"`

	// ClientBusy is the share of the time in which the generator's thread was not waiting for the server. ClientBound: it was
	// busy nearly always, and may have been the limit of rates and latencies; CPU time per unit of work is the server's all the same.
	ClientBusy  float64 `json:"client_busy"`
	ClientBound bool    `json:"client_bound"`
}

// Percentiles of a latency, in milliseconds.
type Percentiles struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
	Max  float64 `json:"max"`
}

func percentiles(h *hdrhistogram.Histogram) *Percentiles {
	if h.TotalCount() == 0 {
		return nil
	}
	at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1000 }
	return &Percentiles{P50: at(50), P99: at(99), P999: at(99.9), Max: float64(h.Max()) / 1000}
}

// newHistogram holds microseconds from 1 to one minute.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, time.Minute.Microseconds(), 3)
}

// finish computes what follows from the counts.
func (r *Result) finish(unit Unit) {
	per := func(count uint64, seconds float64) float64 {
		if seconds <= 0 {
			return 0
		}
		return float64(count) / seconds
	}
	r.PublishedPerSecond = per(r.Published, r.Seconds)
	r.DeliveredPerSecond = per(r.Delivered, r.Seconds)
	r.OpenedPerSecond = per(r.Opened, r.Seconds)
	work := map[Unit]uint64{Deliveries: r.Delivered, Acknowledged: r.Published, Recovered: r.Delivered, Connects: r.Opened}[unit]
	r.PerCPU = per(work, r.ServerCPUSeconds+r.DatabaseCPUSeconds)
	if r.ConnectMicros > 0 { // ServerCPUSeconds is that of idleness
		r.PerCPU = 1e6 / r.ConnectMicros
	}
}

// weigh fills in what so many idle connections cost: memory from what the server had before, just after, and later; and CPU time, of
// which opened has what the opening took.
func (r *Result) weigh(connections int, before, joined, later usage, opened Result) {
	n := float64(connections)
	kib := func(u usage) float64 { return float64(u.residentBytes-before.residentBytes) / 1024 / n }
	r.KiBJoined, r.KiBLater = kib(joined), kib(later)
	r.ConnectMicros = opened.ServerCPUSeconds / n * 1e6
	r.IdleMicros = r.ServerCPUSeconds / n / r.Seconds * 1e6
	r.Opened = uint64(connections)
}
