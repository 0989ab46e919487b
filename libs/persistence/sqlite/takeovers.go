package sqlite

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// firstTakeovers is how far back the first question goes.
const firstTakeovers = time.Minute

// Takeovers implements persistence.Journal. The mark is the number of the newest claim that was committed when it was
// taken: claims are numbered in commit order by one writer, so none can appear below it later.
func (b *Backend) Takeovers(ctx context.Context, owner string, since persistence.Mark) (list []persistence.Takeover, next persistence.Mark, err error) {
	after, err := parseMark(since)
	if err != nil {
		return nil, since, fmt.Errorf("list takeovers: %w", err)
	}
	var oldest time.Time
	if since == (persistence.Mark{}) {
		oldest = b.now().Add(-firstTakeovers)
	}
	if err := b.read(ctx, func(r *reader) error {
		claims, err := r.claims()
		if err != nil {
			return err
		}
		next = persistence.NewMark(strconv.FormatInt(claims, 10))
		list, err = r.takeovers(owner, after, oldest)
		return err
	}); err != nil {
		return nil, since, fmt.Errorf("list takeovers: %w", err)
	}
	return list, next, nil
}

// parseMark returns the claim number that a mark stands for.
func parseMark(m persistence.Mark) (int64, error) {
	if m == (persistence.Mark{}) {
		return 0, nil
	}
	n, err := strconv.ParseInt(m.Value(), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("mark %q: %w", m.Value(), persistence.ErrInvalid)
	}
	return n, nil
}

func (r *reader) claims() (int64, error) {
	defer r.st.claims.Reset()
	if _, err := r.st.claims.Step(); err != nil {
		return 0, err
	}
	return r.st.claims.ColumnInt(0), nil
}

// takeovers reads claims numbered above after, newest first, until one that is older than oldest.
func (r *reader) takeovers(owner string, after int64, oldest time.Time) (list []persistence.Takeover, err error) {
	s := r.st.takeovers
	s.Int(1, after)
	defer s.Reset()
	for {
		row, err := s.Step()
		if err != nil || !row {
			return list, err
		}
		if !oldest.IsZero() && fromNanos(s.ColumnInt(3)).Before(oldest) {
			return list, nil
		}
		if s.TextIs(2, owner) {
			continue
		}
		list = append(list, persistence.Takeover{
			Key:   persistence.StreamKey(s.ColumnText(0)),
			Epoch: uint64(s.ColumnInt(1)),
			Owner: s.ColumnText(2),
		})
	}
}
