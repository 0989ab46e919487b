package room

import "sync/atomic"

// Meter counts bytes that wait somewhere, against a bound.
type Meter struct {
	used  atomic.Int64
	limit int64
}

// NewMeter returns an empty meter with a bound in bytes.
func NewMeter(limit int64) *Meter { return &Meter{limit: limit} }

// TryAdd counts n bytes in unless that would pass the bound. Something always fits into an empty meter.
func (m *Meter) TryAdd(n int) bool {
	if after := m.used.Add(int64(n)); after > m.limit && after != int64(n) {
		m.used.Add(-int64(n))
		return false
	}
	return true
}

// Add counts n bytes in or, when negative, out, whatever the bound says.
func (m *Meter) Add(n int) { m.used.Add(int64(n)) }

// Used returns the bytes counted in.
func (m *Meter) Used() int64 { return m.used.Load() }

// HalfFull tells whether more than half of the bound is used.
func (m *Meter) HalfFull() bool { return m.used.Load() > m.limit/2 }
