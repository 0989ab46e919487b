package roomhost

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/memory"
	"github.com/parley-rt/parley/libs/persistence/sqlite"
)

// BenchmarkPublish measures durable publishes through host, room and journal, without the network: 64 publishers that each
// wait for their acknowledgement, in one room and in 64. Beside the time it reports the process's CPU time, the
// journal's and the publishers' included.
func BenchmarkPublish(b *testing.B) {
	for _, backend := range []struct {
		name string
		open func(*testing.B) persistence.Backend
	}{
		{"memory", func(*testing.B) persistence.Backend { return memory.New(memory.Options{}) }},
		{"sqlite", func(b *testing.B) persistence.Backend {
			s, err := sqlite.Open(context.Background(), filepath.Join(b.TempDir(), "journal.db"), sqlite.Options{})
			require.NoError(b, err)
			return s
		}},
	} {
		for _, rooms := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/rooms=%d", backend.name, rooms), func(b *testing.B) {
				journal := backend.open(b)
				defer func() { require.NoError(b, journal.Close(context.Background())) }()
				b.Run("", func(b *testing.B) { benchPublish(b, journal, rooms, fmt.Sprintf("%d-%d", b.N, time.Now().UnixNano())) })
			})
		}
	}
}

func benchPublish(b *testing.B, journal persistence.Journal, rooms int, run string) {
	const publishers = 64
	host := setup(b, journal)
	for p := range publishers {
		host.join(roomOf(p, rooms), fmt.Sprint("m", p))
	}
	content := strings.Repeat("x", 128)
	before := cpu(b)
	b.ResetTimer()
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for n := p; n < b.N; n += publishers {
				answer := host.ask(roomOf(p, rooms), publishFrame(fmt.Sprint("m", p), fmt.Sprint(run, "/", n), content))
				if answer.GetPublished().GetOutcomes()[0].GetSeq() == 0 {
					b.Errorf("answered by %v", answer)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "publishes/s")
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/publish")
}

func roomOf(publisher, rooms int) string { return fmt.Sprint("room", publisher%rooms) }

func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
