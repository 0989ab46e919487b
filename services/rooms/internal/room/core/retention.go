package core

import (
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// RetentionAge returns the age at which messages are gone; 0: no such limit.
func (s *State) RetentionAge() time.Duration { return s.rights.set.GetRetentionAge().AsDuration() }

// Spare returns the seq up to which the stream itself need not hold its events: readers do not get them any more, and no
// recovery reads an id back from them.
func (s *State) Spare() uint64 {
	spare := uint64(0)
	if s.head > SureIDs {
		spare = s.head - SureIDs
	}
	if lowest, ok := s.window.Lowest(); ok {
		spare = min(spare, lowest-1)
	}
	return min(spare, s.trimmed)
}

// AgeSearch looks for the newest event of a stream that was appended before a time, by reading as few events as it can. It
// first tries the oldest one: mostly nothing has come of age. Times of a stream's events rise, or nearly so.
type AgeSearch struct {
	before time.Time
	// Everything up to old is of age, nothing from young on is.
	old, young uint64
	tried      bool
}

// NewAgeSearch searches the events above trimmed and up to head.
func NewAgeSearch(trimmed, head uint64, before time.Time) *AgeSearch {
	return &AgeSearch{before: before, old: trimmed, young: head + 1}
}

// Next returns the seq of the event to look at; done: the search is over.
func (a *AgeSearch) Next() (seq uint64, done bool) {
	if a.old+1 >= a.young {
		return 0, true
	}
	if !a.tried {
		return a.old + 1, false
	}
	return a.old + (a.young-a.old)/2, false
}

// Take takes the event at Next, or the first one above it.
func (a *AgeSearch) Take(e persistence.Event) {
	a.tried = true
	if e.At.Before(a.before) {
		a.old = max(a.old, e.Seq)
	} else {
		a.young = min(a.young, e.Seq)
	}
}

// Trimmed notes that there are no events up to seq any more.
func (a *AgeSearch) Trimmed(seq uint64) {
	a.tried = true
	a.old = max(a.old, seq)
}

// Found returns the seq up to which events are of age.
func (a *AgeSearch) Found() uint64 { return a.old }
