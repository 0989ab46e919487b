package benchtest

import "fmt"

// What notes in the table say of the loads of one arm: medians over the rounds.

// PerSecond is their rate.
func PerSecond(loads []Load) string { return fmt.Sprintf("%.1f k/s", Median(loads, Load.Rate)/1000) }

// Cost is the CPU time of server and client per event.
func Cost(loads []Load) string {
	return fmt.Sprintf("%.1f + %.1f µs", Median(loads, Load.ServerMicros), Median(loads, Load.ClientMicros))
}

// Latency is the median latency.
func Latency(loads []Load) string { return fmt.Sprintf("%.3g ms", Median(loads, Load.P50)*1000) }
