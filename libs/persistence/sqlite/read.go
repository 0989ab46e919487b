package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/sqlite/internal/lite"
)

// checkEvery is how many rows are read between two looks at the context.
const checkEvery = 128

// eventsAhead is how many events a page has room for from the start: those of most pages, and of large ones not too many
// for their bytes.
const eventsAhead = 1024

// reader is one connection that only reads; whoever took it from the pool owns it.
type reader struct {
	conn *lite.Conn
	st   *readStatements
}

func openReader(path string) (*reader, error) {
	conn, err := connect(path)
	if err != nil {
		return nil, err
	}
	if err := conn.Exec("PRAGMA query_only = ON; PRAGMA cache_size = -8192"); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	st, err := prepareReads(conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &reader{conn: conn, st: st}, nil
}

func (r *reader) close() error {
	r.st.close()
	return r.conn.Close()
}

// read runs fn on one state of the store.
func (b *Backend) read(ctx context.Context, fn func(*reader) error) error {
	select { // alone first: a free reader must not win against them
	case <-b.closing:
		return persistence.ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", persistence.ErrUnavailable, ctx.Err())
	default:
	}
	select {
	case <-b.closing:
		return persistence.ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", persistence.ErrUnavailable, ctx.Err())
	case r := <-b.readers:
		defer func() { b.readers <- r }()
		return r.transaction(fn)
	}
}

func (r *reader) transaction(fn func(*reader) error) error {
	err := r.st.begin.Run()
	if err == nil {
		err = errors.Join(fn(r), r.st.commit.Run())
	}
	e := lite.As(err)
	switch {
	case e == nil:
		return err
	case e.Code() == lite.CodeCorrupt || e.Code() == lite.CodeNotADB:
		return fmt.Errorf("%w: %w", persistence.ErrCorrupt, err)
	default:
		return fmt.Errorf("%w: %w", persistence.ErrUnavailable, err)
	}
}

func (r *reader) head(key persistence.StreamKey) (persistence.Head, error) {
	r.st.head.Text(1, string(key))
	h, err := scanHead(r.st.head)
	if err == nil {
		err = h.settle(r.st.eventPosition)
	}
	h.Key = key
	return h.Head, err
}

// Head implements persistence.Journal.
func (b *Backend) Head(ctx context.Context, key persistence.StreamKey) (h persistence.Head, err error) {
	if err := key.Validate(); err != nil {
		return h, fmt.Errorf("head of stream: %w", err)
	}
	if err = b.read(ctx, func(r *reader) error {
		h, err = r.head(key)
		return err
	}); err != nil {
		return persistence.Head{}, fmt.Errorf("head of stream %s: %w", key, err)
	}
	return h, nil
}

// Read implements persistence.Journal.
func (b *Backend) Read(ctx context.Context, key persistence.StreamKey, from uint64, limit int) (events []persistence.Event, err error) {
	if err := persistence.ValidateRead(key, limit); err != nil {
		return nil, fmt.Errorf("read stream: %w", err)
	}
	if err = b.read(ctx, func(r *reader) error {
		h, err := r.head(key)
		if err != nil {
			return err
		}
		first := max(from, 1)
		if first <= h.TrimSeq {
			return fmt.Errorf("from %d, trimmed up to %d: %w", from, h.TrimSeq, persistence.ErrTrimmed)
		}
		if first > h.LastSeq {
			return nil
		}
		last := first + min(uint64(limit)-1, h.LastSeq-first)
		var full bool
		if events, full, err = r.events(ctx, r.st.events, h.StreamID, first, last); err != nil {
			return err
		}
		if full {
			last = events[len(events)-1].Seq
		}
		return checkRun(events, first, last)
	}); err != nil {
		return nil, fmt.Errorf("read stream %s: %w", key, err)
	}
	return events, nil
}

// ReadReverse implements persistence.Journal.
func (b *Backend) ReadReverse(ctx context.Context, key persistence.StreamKey, before uint64, limit int) (events []persistence.Event, err error) {
	if err := persistence.ValidateRead(key, limit); err != nil {
		return nil, fmt.Errorf("read stream backwards: %w", err)
	}
	if err = b.read(ctx, func(r *reader) error {
		h, err := r.head(key)
		if err != nil {
			return err
		}
		last := h.LastSeq
		if before != 0 {
			last = min(last, before-1)
		}
		if last <= h.TrimSeq {
			return nil
		}
		first := last - min(uint64(limit), last-h.TrimSeq) + 1
		var full bool
		if events, full, err = r.events(ctx, r.st.eventsDesc, h.StreamID, first, last); err != nil {
			return err
		}
		if full {
			first = events[len(events)-1].Seq
		}
		slices.Reverse(events)
		if err := checkRun(events, first, last); err != nil {
			return err
		}
		slices.Reverse(events)
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read stream %s backwards: %w", key, err)
	}
	return events, nil
}

// events reads rows of [first, last] in the statement's order. full: it stopped before the row that would have made them
// more than MaxReadBytes; there is at least one then.
func (r *reader) events(ctx context.Context, s *lite.Stmt, stream int64, first, last uint64) (events []persistence.Event, full bool, err error) {
	s.Int(1, stream)
	s.Int(2, int64(first))
	s.Int(3, int64(last))
	defer s.Reset()
	events = make([]persistence.Event, 0, min(last-first+1, eventsAhead))
	manifest, size := "", 0
	for {
		row, err := s.Step()
		if err != nil || !row {
			return events, false, err
		}
		if size += s.ColumnBytes(6) + s.ColumnBytes(7); size > persistence.MaxReadBytes && len(events) > 0 {
			return events, true, nil
		}
		events = append(events, scanEvent(s, &manifest))
		if len(events)%checkEvery == 0 && ctx.Err() != nil {
			return nil, false, fmt.Errorf("%w: %w", persistence.ErrUnavailable, ctx.Err())
		}
	}
}

// scanEvent reads eventColumns. manifest is the one of the event before, which is most often the same.
func scanEvent(s *lite.Stmt, manifest *string) persistence.Event {
	if !s.TextIs(5, *manifest) {
		*manifest = s.ColumnText(5)
	}
	e := persistence.Event{
		Seq:      uint64(s.ColumnInt(0)),
		Epoch:    uint64(s.ColumnInt(1)),
		At:       fromNanos(s.ColumnInt(2)),
		Codec:    persistence.Codec(s.ColumnInt(3)),
		Manifest: *manifest,
		Meta:     s.ColumnBlob(6),
		Payload:  s.ColumnBlob(7),
	}
	s.CopyBlob(4, e.MessageID[:])
	return e
}

// checkRun proves that ascending events are exactly first..last.
func checkRun(events []persistence.Event, first, last uint64) error {
	for i := range events {
		if want := first + uint64(i); events[i].Seq != want {
			return fmt.Errorf("event %d follows where %d is due: %w", events[i].Seq, want, persistence.ErrCorrupt)
		}
	}
	if end := first + uint64(len(events)) - 1; end != last {
		return fmt.Errorf("events end at %d, head says %d: %w", end, last, persistence.ErrCorrupt)
	}
	return nil
}
