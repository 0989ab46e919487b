package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// firstTakeovers is how far back the first question goes.
const firstTakeovers = time.Minute

// Takeovers implements persistence.Journal. The mark is one above the number of the newest claim that was committed when
// it was taken: claims are numbered in commit order by one writer, so none can appear below it later.
func (b *Backend) Takeovers(ctx context.Context, owner string, since persistence.Mark) (list []persistence.Takeover, next persistence.Mark, err error) {
	var oldest time.Time
	if since == (persistence.Mark{}) {
		oldest = b.now().Add(-firstTakeovers)
	}
	if err := b.read(ctx, func(r *reader) error {
		claims, err := r.claims()
		if err != nil {
			return err
		}
		next = persistence.NewMark(claims + 1)
		list, err = r.takeovers(owner, since.Value()-1, oldest)
		return err
	}); err != nil {
		return nil, since, fmt.Errorf("list takeovers: %w", err)
	}
	return list, next, nil
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
