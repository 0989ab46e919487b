package core

import (
	"fmt"
	"sync"
	"time"
)

// Zones loads time zones and keeps them. Safe for concurrent use.
type Zones struct {
	mu     sync.Mutex
	loaded map[string]*time.Location
}

// NewZones returns a store that has loaded none.
func NewZones() *Zones {
	return &Zones{loaded: map[string]*time.Location{"": time.UTC, "UTC": time.UTC}}
}

// Get returns a zone by its IANA name; empty is UTC. How many are kept is bounded by how many there are.
func (z *Zones) Get(name string) (*time.Location, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if loc := z.loaded[name]; loc != nil {
		return loc, nil
	}
	if !validZoneName(name) {
		return nil, fmt.Errorf("%q is not the name of a time zone such as Europe/Berlin", name)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%q is not the name of a time zone such as Europe/Berlin", name)
	}
	z.loaded[name] = loc
	return loc, nil
}
