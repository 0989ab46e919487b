package memory

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// Takeovers implements persistence.Journal.
func (b *Backend) Takeovers(ctx context.Context, owner string, since persistence.Mark) (list []persistence.Takeover, next persistence.Mark, err error) {
	err = b.do(ctx, "list takeovers", func() error {
		after, err := parseMark(since)
		if err != nil {
			return err
		}
		oldest := b.now().Add(-time.Minute)
		for key, s := range b.streams {
			old := s.claimNo <= after
			if since == (persistence.Mark{}) {
				old = s.head.ClaimedAt.Before(oldest)
			}
			if !old && s.head.Owner != owner {
				list = append(list, persistence.Takeover{Key: key, Epoch: s.head.Epoch, Owner: s.head.Owner})
			}
		}
		next = persistence.NewMark(strconv.FormatInt(b.claims, 10))
		return nil
	})
	return list, next, err
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
