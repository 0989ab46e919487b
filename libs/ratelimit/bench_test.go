package ratelimit_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/ratelimit"
	"github.com/parley-rt/parley/libs/ratelimit/memory"
)

var limit = ratelimit.Limit{ //nolint:gochecknoglobals // of all benchmarks
	Pieces: ratelimit.Rate{PerSecond: 1e6, Burst: 1e9}, Bytes: ratelimit.Rate{PerSecond: 1e9, Burst: 1e12},
}

// A decision about what nobody else counts.
func BenchmarkOwn(b *testing.B) {
	l, err := ratelimit.New(ratelimit.Config{}, nil)
	require.NoError(b, err)
	own := l.Own("connection", limit)
	var m ratelimit.Meter
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		own.Take(now, &m, ratelimit.Cost{Pieces: 1, Bytes: 128})
	}
}

// A decision by a share of what several nodes count, with the background at work.
func BenchmarkShared(b *testing.B) {
	for _, keys := range []int{1, 10_000} {
		b.Run(fmt.Sprint("keys=", keys), func(b *testing.B) {
			l, err := ratelimit.New(ratelimit.Config{Node: "a"}, memory.New(nil))
			require.NoError(b, err)
			s := l.Shared("member", limit)
			require.NoError(b, l.Start())
			defer l.Close()
			names := make([]string, keys)
			for i := range names {
				names[i] = fmt.Sprint("member-", i)
				s.Take(time.Now(), names[i], ratelimit.One)
			}
			now, i := time.Now(), 0
			b.ReportAllocs()
			for b.Loop() {
				s.Take(now, names[i], ratelimit.Cost{Pieces: 1, Bytes: 128})
				if i++; i == keys {
					i = 0
				}
			}
		})
	}
}
