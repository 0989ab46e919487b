package persistencetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/parley-rt/parley/libs/persistence"
)

// row is what is compared of a stored event.
type row struct {
	seq   uint64
	epoch uint64
	id    [16]byte
}

// streamRows is a stream as the store has it.
type streamRows struct {
	head persistence.Head
	// rows are those above head.TrimSeq.
	rows []row
}

func (s *streamRows) at(seq uint64) (row, bool) {
	i, found := slices.BinarySearchFunc(s.rows, seq, func(r row, seq uint64) int { return cmp.Compare(r.seq, seq) })
	if !found {
		return row{}, false
	}
	return s.rows[i], true
}

// readStream reads a stream and checks I2. A store that finds the stream corrupt by itself breaks I2 as well.
func (c *check) readStream(ctx context.Context, j persistence.Journal, key persistence.StreamKey) error {
	head, err := j.Head(ctx, key)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	s := &streamRows{head: head}
	c.streams[key] = s
	last := head.TrimSeq
	for {
		page, err := j.Read(ctx, key, last+1, persistence.MaxRead)
		if errors.Is(err, persistence.ErrCorrupt) {
			c.failed(I2, key, "%v", err)
			return nil
		}
		if err != nil {
			return fmt.Errorf("check: %w", err)
		}
		if len(page) == 0 {
			break
		}
		for i := range page {
			e := &page[i]
			if e.Seq != last+1 {
				c.failed(I2, key, "seq %d follows %d", e.Seq, last)
			}
			if e.Seq <= last { // or the reading would never end
				return nil
			}
			last = e.Seq
			s.rows = append(s.rows, row{seq: e.Seq, epoch: e.Epoch, id: e.MessageID})
		}
	}
	if last != head.LastSeq {
		c.failed(I2, key, "events end at %d, the head is %d", last, head.LastSeq)
	}
	return nil
}
