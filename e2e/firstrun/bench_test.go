package firstrun

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every scenario runs against the real server and the bare hub, in small, and nobody misses or repeats a message (S5).
func TestBenchRunsEveryScenario(t *testing.T) {
	t.Parallel()
	short := []string{"--warmup", "100ms", "--duration", "500ms"}
	for name, args := range map[string][]string{
		"fanout":        append([]string{"fanout", "--connections", "50"}, short...),
		"fanout, rate":  append([]string{"fanout", "--connections", "50", "--rate", "50"}, short...),
		"rooms":         append([]string{"rooms", "--rooms", "10", "--members", "5", "--in-flight", "20"}, short...),
		"publish":       append([]string{"publish"}, short...),
		"publish, room": append([]string{"publish", "--rooms", "1"}, short...),
		"recovery":      {"recovery", "--connections", "200", "--rooms", "4", "--missed", "500"},
		"idle":          {"idle", "--connections", "100", "--settle", "100ms", "--duration", "500ms"},
		"idle, TLS":     {"idle", "--connections", "100", "--settle", "100ms", "--duration", "500ms", "--tls"},
		"storm":         {"storm", "--connections", "300", "--rooms", "10"},
	} {
		t.Run(name, func(t *testing.T) {
			var report struct {
				Comparisons []struct {
					Parley map[string]any `json:"parley"`
					Faults *uint64        `json:"faults"`
				} `json:"comparisons"`
			}
			out := mustParley(t, "", append(append([]string{"bench"}, args...), "--json")...)
			require.NoError(t, json.Unmarshal([]byte(out), &report))
			require.Len(t, report.Comparisons, 1)
			c := report.Comparisons[0]
			require.NotNil(t, c.Faults)
			require.Zero(t, *c.Faults)
			require.Positive(t, c.Parley["work_per_server_cpu_second"])
			if strings.HasPrefix(name, "idle") { // so few that idle for so short may cost nothing that is measured
				require.Positive(t, c.Parley["kib_per_connection_later"])
				require.Positive(t, c.Parley["connect_cpu_microseconds"])
				return
			}
			require.Positive(t, c.Parley["server_cpu_seconds"])
		})
	}
}
