package memory

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/parley-rt/parley/libs/persistence"
)

// stream holds what a head row, its events and its snapshots are elsewhere.
type stream struct {
	head    persistence.Head
	lane    int16
	claimNo int64
	// events are those above head.TrimSeq, ascending.
	events []persistence.Event
	// snapshots are the newest two, newest first.
	snapshots []persistence.Snapshot
}

// Claim implements persistence.Journal.
func (b *Backend) Claim(ctx context.Context, key persistence.StreamKey, owner string, opts persistence.ClaimOptions) (c persistence.Claim, err error) {
	if err := persistence.ValidateClaim(key, owner, opts); err != nil {
		return c, fmt.Errorf("claim stream: %w", err)
	}
	err = b.do(ctx, "claim stream "+string(key), func() error {
		s, known := b.streams[key]
		if !known {
			s = &stream{head: persistence.Head{Key: key}}
		}
		if guard, ok := opts.Guard.(persistence.GuardEpoch); ok && guard.Epoch != s.head.Epoch {
			return &persistence.GuardError{Guard: guard, Head: s.head}
		}
		if guard, ok := opts.Guard.(persistence.GuardLease); ok && b.leases[guard.Name].Guard() != guard {
			return &persistence.GuardError{Guard: guard, Head: s.head}
		}
		if !known {
			b.streams[key] = s
			b.streamIDs++
			s.head.StreamID = b.streamIDs
			s.lane = int16(b.streamIDs % int64(len(b.lanes)))
			s.head.Incarnation = newIncarnation()
		}
		previous := s.head.Owner
		b.claims++
		s.claimNo = b.claims
		s.head.Epoch++
		s.head.Owner = owner
		s.head.ClaimedAt = b.now()
		c = persistence.Claim{
			Key: key, StreamID: s.head.StreamID, Epoch: s.head.Epoch, Incarnation: s.head.Incarnation,
			LastSeq: s.head.LastSeq, SnapSeq: s.head.SnapSeq, TrimSeq: s.head.TrimSeq, Lane: s.lane,
			Owner: owner, PreviousOwner: previous,
		}
		return nil
	})
	return c, err
}

// held returns the stream while the claim still holds it.
func (b *Backend) held(c persistence.Claim) (*stream, error) {
	s, known := b.streams[c.Key]
	if !known || s.head.StreamID != c.StreamID {
		return nil, fmt.Errorf("claim is of another journal, this one has no stream %d: %w", c.StreamID, persistence.ErrInvalid)
	}
	if s.head.Epoch != c.Epoch {
		return nil, &persistence.FencedError{
			Key: c.Key, MyEpoch: c.Epoch, Epoch: s.head.Epoch, Owner: s.head.Owner, LastSeq: s.head.LastSeq,
		}
	}
	return s, nil
}

// Release implements persistence.Journal.
func (b *Backend) Release(ctx context.Context, c persistence.Claim) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("release stream: %w", err)
	}
	return b.do(ctx, "release stream "+string(c.Key), func() error {
		if s, err := b.held(c); err == nil {
			s.head.Owner = ""
		}
		return nil
	})
}

// Append implements persistence.Journal.
func (b *Backend) Append(ctx context.Context, c persistence.Claim, expected uint64, events []persistence.Event) (last uint64, err error) {
	if _, err := persistence.ValidateAppend(c, events); err != nil {
		return 0, fmt.Errorf("append to stream %s: %w", c.Key, err)
	}
	err = b.do(ctx, "append to stream "+string(c.Key), func() error {
		s, err := b.held(c)
		if err != nil {
			return err
		}
		if s.head.LastSeq != expected {
			return fmt.Errorf("expected %d, head is %d: %w", expected, s.head.LastSeq, persistence.ErrConflict)
		}
		at := b.now()
		for _, e := range events {
			s.head.LastSeq++
			e.Seq, e.Epoch, e.At = s.head.LastSeq, c.Epoch, at
			e = copyEvent(e)
			s.events = append(s.events, e)
			b.feed(s, e)
		}
		last = s.head.LastSeq
		return nil
	})
	return last, err
}

// Read implements persistence.Journal.
func (b *Backend) Read(ctx context.Context, key persistence.StreamKey, from uint64, limit int) (events []persistence.Event, err error) {
	if err := persistence.ValidateRead(key, limit); err != nil {
		return nil, fmt.Errorf("read stream: %w", err)
	}
	err = b.do(ctx, "read stream "+string(key), func() error {
		s, known := b.streams[key]
		if !known {
			return nil
		}
		first := max(from, 1)
		if first <= s.head.TrimSeq {
			return fmt.Errorf("from %d, trimmed up to %d: %w", from, s.head.TrimSeq, persistence.ErrTrimmed)
		}
		events = copyPage(slices.Values(s.after(first-1, limit)))
		return nil
	})
	return events, err
}

// after returns at most limit stored events above seq.
func (s *stream) after(seq uint64, limit int) []persistence.Event {
	i, _ := slices.BinarySearchFunc(s.events, seq, func(e persistence.Event, seq uint64) int {
		return cmp.Compare(e.Seq, seq+1)
	})
	return s.events[i:min(len(s.events), i+limit)]
}

// ReadReverse implements persistence.Journal.
func (b *Backend) ReadReverse(ctx context.Context, key persistence.StreamKey, before uint64, limit int) (events []persistence.Event, err error) {
	if err := persistence.ValidateRead(key, limit); err != nil {
		return nil, fmt.Errorf("read stream backwards: %w", err)
	}
	err = b.do(ctx, "read stream "+string(key)+" backwards", func() error {
		s, known := b.streams[key]
		if !known {
			return nil
		}
		end := len(s.events)
		if before != 0 && end > 0 {
			end = int(min(uint64(end), max(before, s.events[0].Seq)-s.events[0].Seq))
		}
		events = copyPage(backwards(s.events[max(0, end-limit):end]))
		return nil
	})
	return events, err
}

// Head implements persistence.Journal.
func (b *Backend) Head(ctx context.Context, key persistence.StreamKey) (h persistence.Head, err error) {
	if err := key.Validate(); err != nil {
		return h, fmt.Errorf("head of stream: %w", err)
	}
	err = b.do(ctx, "head of stream "+string(key), func() error {
		h.Key = key
		if s, known := b.streams[key]; known {
			h = s.head
		}
		return nil
	})
	return h, err
}

// recoverEvents is the first page of a recovery, the same as that of other backends.
const recoverEvents = 1000

// Recover implements persistence.Journal.
func (b *Backend) Recover(ctx context.Context, c persistence.Claim) (rec persistence.Recovery, err error) {
	if err := c.Validate(); err != nil {
		return rec, fmt.Errorf("recover stream: %w", err)
	}
	err = b.do(ctx, "recover stream "+string(c.Key), func() error {
		s, known := b.streams[c.Key]
		if !known || s.head.StreamID != c.StreamID || s.head.LastSeq < c.LastSeq {
			return fmt.Errorf("stream %d was claimed up to %d and is not there: %w", c.StreamID, c.LastSeq, persistence.ErrCorrupt)
		}
		found := slices.DeleteFunc(slices.Clone(s.snapshots), func(s persistence.Snapshot) bool { return s.Seq > c.LastSeq })
		if len(found) > 0 {
			rec.Snapshot = copySnapshot(found[0])
		}
		if len(found) > 1 {
			rec.Previous = copySnapshot(found[1])
		}
		if rec.Snapshot.Seq >= c.LastSeq {
			return nil
		}
		if rec.Snapshot.Seq < s.head.TrimSeq {
			return fmt.Errorf("from %d, trimmed up to %d: %w", rec.Snapshot.Seq+1, s.head.TrimSeq, persistence.ErrTrimmed)
		}
		missing := c.LastSeq - rec.Snapshot.Seq
		rec.Tail = copyPage(slices.Values(s.after(rec.Snapshot.Seq, int(min(missing, recoverEvents)))))
		rec.More = missing > uint64(len(rec.Tail))
		return nil
	})
	return rec, err
}

// SaveSnapshot implements persistence.Journal.
func (b *Backend) SaveSnapshot(ctx context.Context, c persistence.Claim, snap persistence.Snapshot) error {
	if err := persistence.ValidateSnapshot(c, snap); err != nil {
		return fmt.Errorf("save snapshot of stream %s: %w", c.Key, err)
	}
	return b.do(ctx, "save snapshot of stream "+string(c.Key), func() error {
		s, err := b.held(c)
		if err != nil {
			return err
		}
		switch {
		case snap.Seq > s.head.LastSeq:
			return fmt.Errorf("snapshot at %d, head is %d: %w", snap.Seq, s.head.LastSeq, persistence.ErrInvalid)
		case snap.Seq <= s.head.SnapSeq:
			return fmt.Errorf("snapshot at %d, stored is %d: %w", snap.Seq, s.head.SnapSeq, persistence.ErrStaleSnapshot)
		}
		snap.Epoch, snap.At = c.Epoch, b.now()
		s.head.SnapSeq = snap.Seq
		s.snapshots = slices.Insert(s.snapshots, 0, copySnapshot(snap))
		s.snapshots = s.snapshots[:min(2, len(s.snapshots))]
		return nil
	})
}

// Trim implements persistence.Journal.
func (b *Backend) Trim(ctx context.Context, c persistence.Claim, upTo uint64) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("trim stream: %w", err)
	}
	return b.do(ctx, "trim stream "+string(c.Key), func() error {
		s, err := b.held(c)
		if err != nil {
			return err
		}
		if upTo > s.head.SnapSeq {
			return fmt.Errorf("trim up to %d, newest snapshot is %d: %w", upTo, s.head.SnapSeq, persistence.ErrConflict)
		}
		s.trim(upTo)
		return nil
	})
}

func (s *stream) trim(upTo uint64) {
	s.head.TrimSeq = max(s.head.TrimSeq, upTo)
	s.events = slices.Clone(s.after(s.head.TrimSeq, len(s.events)))
}

// Reincarnate implements persistence.Journal.
func (b *Backend) Reincarnate(ctx context.Context, c persistence.Claim) (persistence.Claim, error) {
	if err := c.Validate(); err != nil {
		return persistence.Claim{}, fmt.Errorf("reincarnate stream: %w", err)
	}
	if err := b.do(ctx, "reincarnate stream "+string(c.Key), func() error {
		s, err := b.held(c)
		if err != nil {
			return err
		}
		s.head.Incarnation = newIncarnation()
		c.Incarnation = s.head.Incarnation
		return nil
	}); err != nil {
		return persistence.Claim{}, err
	}
	return c, nil
}

// newIncarnation draws 63 bits that are not all zero.
func newIncarnation() uint64 { return rand.Uint64()>>1 | 1 }
