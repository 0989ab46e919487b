package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/parley-rt/parley/libs/dcplane"
)

// Timing is the part of the clockwork an owner may set; zero fields get the defaults of package dcplane.
type Timing struct {
	Lease, RefreshEvery, MaxStaleness time.Duration
}

// WithDefaults fills in zero fields.
func (t Timing) WithDefaults() Timing {
	if t.Lease == 0 {
		t.Lease = dcplane.DefaultLease
	}
	if t.RefreshEvery == 0 {
		t.RefreshEvery = dcplane.DefaultRefreshEvery
	}
	if t.MaxStaleness == 0 {
		t.MaxStaleness = dcplane.DefaultMaxCacheStaleness
	}
	return t
}

// minLease leaves room for a renewal round trip in a quarter of it.
const minLease = 200 * time.Millisecond

// Validate reports all problems of a Timing without zero fields.
func (t Timing) Validate() error {
	var problems []error
	if t.Lease < minLease {
		problems = append(problems, fmt.Errorf("lease %v is below %v", t.Lease, minLease))
	}
	if t.RefreshEvery < t.Lease {
		problems = append(problems, fmt.Errorf("refresh period %v is below the lease %v", t.RefreshEvery, t.Lease))
	}
	if t.MaxStaleness < t.Lease {
		problems = append(problems, fmt.Errorf("max cache staleness %v is below the lease %v", t.MaxStaleness, t.Lease))
	}
	return errors.Join(problems...)
}

// The rest of the clockwork follows from the lease; the comments give the values for 4 s.

func (t Timing) renew() time.Duration  { return t.Lease / 4 }  // 1 s: three renewals may fail
func (t Timing) tick() time.Duration   { return t.Lease / 16 } // 250 ms: how late an expiry may be noticed
func (t Timing) retry() time.Duration  { return t.Lease / 16 } // 250 ms: after a failed call
func (t Timing) call() time.Duration   { return t.Lease / 4 }  // 1 s: deadline of one write
func (t Timing) sync() time.Duration   { return t.Lease / 2 }  // 2 s: deadline of one refresh
func (t Timing) giveUp() time.Duration { return t.Lease }      // 4 s: then an unreachable record is gone anyway

// jittered returns d shortened by up to a fifth, so that the processes of a deployment do not fall into step.
func jittered(d time.Duration) time.Duration {
	return d - time.Duration(rand.Int64N(int64(d)/5+1))
}

func (t Timing) cache(serverLeases bool) dcplane.CacheConfig {
	c := dcplane.CacheConfig{
		Lease:        t.Lease,
		ServerLeases: serverLeases,
		Quiet:        t.Lease / 4, // 1 s: with any node alive, its renewals are heard more often
		Outage:       t.Lease / 2, // 2 s: shorter, and nodes still renew in time by themselves
		RefreshEvery: t.RefreshEvery,
		MaxStaleness: t.MaxStaleness,
	}
	if serverLeases {
		// 1.5 s: the control plane counts from a renewal that may be a second old, and reconnecting takes a while.
		c.Outage = t.Lease * 3 / 8
	}
	return c
}
