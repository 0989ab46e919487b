package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/sqlite/internal/lite"
)

// Append implements persistence.Journal.
func (b *Backend) Append(ctx context.Context, c persistence.Claim, expected uint64, events []persistence.Event) (uint64, error) {
	size, err := persistence.ValidateAppend(c, events)
	if err != nil {
		return 0, fmt.Errorf("append to stream %s: %w", c.Key, err)
	}
	m := newAppend(c, expected, events, size)
	m.request.lends = true
	err = b.submit(ctx, &m.request)
	b.metrics.Appended(ctx, m.request.Since, err)
	if err != nil {
		return 0, fmt.Errorf("append to stream %s: %w", c.Key, err)
	}
	return expected + uint64(len(events)), nil
}

// AppendAsync implements persistence.AsyncAppender.
func (b *Backend) AppendAsync(ctx context.Context, c persistence.Claim, expected uint64, events []persistence.Event, limit time.Duration, done func(uint64, error)) {
	size, err := persistence.ValidateAppend(c, events)
	if err != nil {
		done(0, fmt.Errorf("append to stream %s: %w", c.Key, err))
		return
	}
	m := newAppend(c, expected, events, size)
	b.submitAsync(&m.request, limit, func(err error) {
		b.metrics.Appended(ctx, m.request.Since, err)
		if err != nil {
			done(0, fmt.Errorf("append to stream %s: %w", c.Key, err))
			return
		}
		done(expected+uint64(len(events)), nil)
	})
}

func newAppend(c persistence.Claim, expected uint64, events []persistence.Event, size int) *appendMutation {
	m := &appendMutation{claim: c, expected: expected, events: events}
	m.request = request{
		mutation: m,
		key:      writerKey{stream: c.StreamID, epoch: c.Epoch},
		events:   len(events),
		bytes:    size,
	}
	return m
}

// appendMutation carries its request, so that an append is one allocation.
type appendMutation struct {
	request  request
	claim    persistence.Claim
	expected uint64
	events   []persistence.Event
}

func (m *appendMutation) apply(w *writer) error {
	s := w.st.advance
	s.Int(1, m.claim.StreamID)
	s.Int(2, int64(m.claim.Epoch))
	s.Int(3, int64(m.expected))
	s.Int(4, int64(len(m.events)))
	if err := s.Run(); err != nil {
		return err
	}
	if w.conn.Changes() == 0 {
		return w.lost(m.claim, func(h persistence.Head) error {
			return fmt.Errorf("expected %d, head is %d: %w", m.expected, h.LastSeq, persistence.ErrConflict)
		})
	}
	for i := range m.events {
		w.pos++
		if err := m.insert(w, &m.events[i], m.expected+1+uint64(i)); err != nil {
			return err
		}
	}
	return nil
}

func (m *appendMutation) insert(w *writer, e *persistence.Event, seq uint64) error {
	s := w.st.insertEvent
	s.Int(1, w.pos)
	s.Int(2, m.claim.StreamID)
	s.Int(3, int64(seq))
	s.Int(4, int64(m.claim.Epoch))
	s.Int(5, w.at.UnixNano())
	s.Int(6, w.part)
	s.Int(7, int64(e.Codec))
	s.Blob(8, e.MessageID[:])
	s.Text(9, e.Manifest)
	bindMeta(s, 10, e.Meta)
	s.Blob(11, e.Payload)
	err := s.Run()
	if e := lite.As(err); e != nil && e.Code() == lite.CodeConstraint {
		return fmt.Errorf("event %d at position %d is stored already, beyond the head: %w: %w", seq, w.pos, persistence.ErrCorrupt, err)
	}
	return err
}

func bindMeta(s *lite.Stmt, i int, meta []byte) {
	if len(meta) == 0 {
		s.Null(i)
		return
	}
	s.Blob(i, meta)
}
