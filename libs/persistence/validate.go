package persistence

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// The checks below are for backends: all of them refuse the same arguments with the same errors, before any I/O.

// Validate checks a key: 1 to MaxKeyBytes of UTF-8 without NUL. ErrInvalid.
func (k StreamKey) Validate() error { return checkName("stream key", string(k)) }

// ValidateClaim checks the arguments of Journal.Claim. ErrInvalid.
func ValidateClaim(key StreamKey, owner string, opts ClaimOptions) error {
	if err := key.Validate(); err != nil {
		return err
	}
	if key.Kind() == ReservedKind {
		return fmt.Errorf("stream %s: kind %q is the journal's own: %w", key, ReservedKind, ErrInvalid)
	}
	switch guard := opts.Guard.(type) {
	case nil, GuardEpoch:
	case GuardLease:
		if err := ValidateLease(guard.Name, guard.Owner, time.Second); err != nil {
			return err
		}
	default:
		return fmt.Errorf("guard %T is not known: %w", opts.Guard, ErrInvalid)
	}
	return checkName("owner", owner)
}

// ReservedKind is the kind of streams that backends keep for themselves; nobody can claim one.
const ReservedKind = "probe"

// Validate checks that the claim came from Journal.Claim. ErrInvalid.
func (c Claim) Validate() error {
	if c.StreamID <= 0 || c.Epoch == 0 {
		return fmt.Errorf("claim of stream %q has no stream or epoch: %w", c.Key, ErrInvalid)
	}
	return c.Key.Validate()
}

// ValidateAppend checks the arguments of Journal.Append and returns the bytes of the events as limits count them.
// ErrInvalid, ErrTooLarge.
func ValidateAppend(c Claim, events []Event) (int, error) {
	if err := c.Validate(); err != nil {
		return 0, err
	}
	if len(events) == 0 {
		return 0, fmt.Errorf("append without events: %w", ErrInvalid)
	}
	if len(events) > MaxAppendEvents {
		return 0, fmt.Errorf("%d events, at most %d in one append: %w", len(events), MaxAppendEvents, ErrTooLarge)
	}
	total := 0
	for i := range events {
		e := &events[i]
		if len(e.Payload) > MaxPayloadBytes {
			return 0, fmt.Errorf("payload %d has %d bytes, at most %d: %w", i, len(e.Payload), MaxPayloadBytes, ErrTooLarge)
		}
		if len(e.Manifest) > MaxKeyBytes {
			return 0, fmt.Errorf("manifest %d has %d bytes, at most %d: %w", i, len(e.Manifest), MaxKeyBytes, ErrTooLarge)
		}
		if err := checkManifest(e.Manifest); err != nil {
			return 0, fmt.Errorf("event %d: %w", i, err)
		}
		total += len(e.MessageID) + len(e.Manifest) + len(e.Payload) + len(e.Meta)
	}
	if total > MaxAppendBytes {
		return 0, fmt.Errorf("%d bytes of events, at most %d in one append: %w", total, MaxAppendBytes, ErrTooLarge)
	}
	return total, nil
}

// ValidateSnapshot checks the arguments of Journal.SaveSnapshot. ErrInvalid, ErrTooLarge.
func ValidateSnapshot(c Claim, s Snapshot) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if s.Seq == 0 {
		return fmt.Errorf("snapshot without a seq: %w", ErrInvalid)
	}
	if n := len(s.Payload) + len(s.Meta) + len(s.Manifest); n > MaxSnapshotBytes {
		return fmt.Errorf("snapshot of %d bytes, at most %d: %w", n, MaxSnapshotBytes, ErrTooLarge)
	}
	return checkManifest(s.Manifest)
}

// ValidateRead checks key and limit of the reads. ErrInvalid.
func ValidateRead(key StreamKey, limit int) error {
	if err := ValidateReadLane(limit); err != nil {
		return err
	}
	return key.Validate()
}

// ValidateReadLane checks the limit of Feed.ReadLane and of the reads of blocks. ErrInvalid.
func ValidateReadLane(limit int) error {
	if limit < 1 || limit > MaxRead {
		return fmt.Errorf("limit %d, must be 1 to %d: %w", limit, MaxRead, ErrInvalid)
	}
	return nil
}

// ValidateCheckpoint checks name and owner of a checkpoint. ErrInvalid.
func ValidateCheckpoint(name, owner string) error {
	if err := ValidateCheckpointName(name); err != nil {
		return err
	}
	return checkName("owner", owner)
}

// ValidateCheckpointName checks the argument of Feed.DeleteCheckpoint. ErrInvalid.
func ValidateCheckpointName(name string) error { return checkName("checkpoint name", name) }

// ValidateTTL checks a time to live. ErrInvalid.
func ValidateTTL(ttl time.Duration) error {
	if ttl <= 0 {
		return fmt.Errorf("time to live %v, must be positive: %w", ttl, ErrInvalid)
	}
	return nil
}

// ValidateAttempt checks the number of an attempt to resume a session. ErrInvalid.
func ValidateAttempt(attempt uint64) error {
	if attempt > math.MaxInt64 {
		return fmt.Errorf("attempt %d, at most %d: %w", attempt, uint64(math.MaxInt64), ErrInvalid)
	}
	return nil
}

// ValidateMember checks the member of a session. ErrInvalid.
func ValidateMember(member string) error { return checkName("member", member) }

// ValidateLease checks the arguments of LeaseStore.AcquireLease. ErrInvalid.
func ValidateLease(name, owner string, ttl time.Duration) error {
	if err := checkName("lease name", name); err != nil {
		return err
	}
	if err := checkName("owner", owner); err != nil {
		return err
	}
	return ValidateTTL(ttl)
}

// SortedRooms returns the rooms as sessions store them: sorted, without repeats, in a new slice. ErrInvalid for a room
// name that is no name, ErrTooLarge over MaxSessionRooms.
func SortedRooms(rooms []string) ([]string, error) {
	sorted := slices.Compact(slices.Sorted(slices.Values(rooms)))
	if len(sorted) > MaxSessionRooms {
		return nil, fmt.Errorf("%d rooms, at most %d in a session: %w", len(sorted), MaxSessionRooms, ErrTooLarge)
	}
	for _, room := range sorted {
		if err := checkName("room", room); err != nil {
			return nil, err
		}
	}
	return sorted, nil
}

func checkName(what, s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%s is empty: %w", what, ErrInvalid)
	case len(s) > MaxKeyBytes:
		return fmt.Errorf("%s has %d bytes, at most %d: %w", what, len(s), MaxKeyBytes, ErrInvalid)
	}
	return checkText(what, s)
}

// checkManifest refuses what some databases cannot store as text, and others only by accident.
func checkManifest(s string) error { return checkText("manifest", s) }

func checkText(what, s string) error {
	switch {
	case !utf8.ValidString(s):
		return fmt.Errorf("%s %q is not UTF-8: %w", what, s, ErrInvalid)
	case strings.IndexByte(s, 0) >= 0:
		return fmt.Errorf("%s %q has a NUL: %w", what, s, ErrInvalid)
	}
	return nil
}
