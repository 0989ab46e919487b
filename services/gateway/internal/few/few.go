// Package few has collections for things of which nearly everybody has few, and there are very many of everybody.
package few

import (
	"iter"
	"maps"
)

// most is how many entries are looked through one by one; more are in a Go map.
const most = 8

// Map is a map that takes little memory while it is small: a Go map with one entry is a quarter of a KiB. The zero value is empty and
// ready. Not safe for concurrent use.
type Map[K comparable, V any] struct {
	entries []entry[K, V]
	many    map[K]V // nil: all are in entries
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

// Len is the number of entries.
func (m *Map[K, V]) Len() int { return len(m.entries) + len(m.many) }

// Get returns the value of a key.
func (m *Map[K, V]) Get(key K) (value V, ok bool) {
	if m.many != nil {
		value, ok = m.many[key]
		return value, ok
	}
	if i := m.find(key); i >= 0 {
		return m.entries[i].value, true
	}
	return value, false
}

// At is Get of a value that is zero without an entry.
func (m *Map[K, V]) At(key K) V {
	value, _ := m.Get(key)
	return value
}

// Has says whether a key has an entry.
func (m *Map[K, V]) Has(key K) bool {
	_, ok := m.Get(key)
	return ok
}

// Set gives a key a value.
func (m *Map[K, V]) Set(key K, value V) {
	if m.many != nil {
		m.many[key] = value
		return
	}
	switch i := m.find(key); {
	case i >= 0:
		m.entries[i].value = value
	case m.entries == nil:
		m.entries = append(make([]entry[K, V], 0, 1), entry[K, V]{key, value}) // append alone would make room for more
	case len(m.entries) < most:
		m.entries = append(m.entries, entry[K, V]{key, value})
	default:
		m.many = make(map[K]V, 2*most)
		for _, e := range m.entries {
			m.many[e.key] = e.value
		}
		m.many[key], m.entries = value, nil
	}
}

// Delete removes a key's entry, if there is one.
func (m *Map[K, V]) Delete(key K) {
	if m.many != nil {
		delete(m.many, key)
		if len(m.many) == 0 {
			m.many = nil
		}
		return
	}
	i := m.find(key)
	if i < 0 {
		return
	}
	last := len(m.entries) - 1
	m.entries[i], m.entries[last] = m.entries[last], entry[K, V]{}
	if m.entries = m.entries[:last]; last == 0 {
		m.entries = nil
	}
}

// All goes through the entries in no particular order. Meanwhile the one that was given last may be deleted, and others may be added,
// which may be given or not.
func (m *Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		// Backwards: what takes the place of a deleted one has been given already.
		entries := m.entries
		if m.many != nil {
			maps.All(m.many)(yield)
			return
		}
		for i := len(entries) - 1; i >= 0; i-- {
			if !yield(entries[i].key, entries[i].value) {
				return
			}
		}
	}
}

func (m *Map[K, V]) find(key K) int {
	for i := range m.entries {
		if m.entries[i].key == key {
			return i
		}
	}
	return -1
}
