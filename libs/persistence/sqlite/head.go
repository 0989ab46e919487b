package sqlite

import (
	"fmt"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/sqlite/internal/lite"
)

// head is a row of journal_stream.
type head struct {
	persistence.Head
	lane int16
	// dropped: events up to this position are gone, though TrimSeq may not say so yet; 0 when it does.
	dropped int64
}

// settle raises TrimSeq to what was dropped with partitions. Dropping one makes its events invisible at once, by the
// lane's trim_pos, whereas the trim_seq of streams follow with the rows, some in each transaction.
//
// Positions of a stream rise with its seqs, and what is above TrimSeq is all there, so a search by halves finds the place.
func (h *head) settle(position *lite.Stmt) error {
	if h.dropped == 0 {
		return nil
	}
	gone, there := h.TrimSeq, h.LastSeq+1
	for gone+1 < there {
		middle := gone + (there-gone)/2
		position.Int(1, h.StreamID)
		position.Int(2, int64(middle))
		row, err := position.Step()
		if err != nil {
			return err
		}
		if row && position.ColumnInt(0) <= h.dropped {
			gone = middle
		} else { // a missing row is found by who reads it
			there = middle
		}
		position.Reset()
	}
	h.TrimSeq = gone
	return nil
}

func (w *writer) headByKey(key persistence.StreamKey) (head, error) {
	w.st.headByKey.Text(1, string(key))
	h, err := scanHead(w.st.headByKey)
	if err == nil {
		err = h.settle(w.st.eventPosition)
	}
	h.Key = key
	return h, err
}

// scanHead steps a statement that selects headColumns; a missing row gives the zero head.
func scanHead(s *lite.Stmt) (head, error) {
	row, err := s.Step()
	if err != nil || !row {
		return head{}, err
	}
	defer s.Reset()
	return head{
		Head: persistence.Head{
			StreamID:    s.ColumnInt(0),
			Epoch:       uint64(s.ColumnInt(1)),
			Incarnation: uint64(s.ColumnInt(2)),
			LastSeq:     uint64(s.ColumnInt(3)),
			SnapSeq:     uint64(s.ColumnInt(4)),
			TrimSeq:     uint64(s.ColumnInt(5)),
			Owner:       s.ColumnText(6),
			ClaimedAt:   fromNanos(s.ColumnInt(7)),
		},
		lane:    int16(s.ColumnInt(8)),
		dropped: s.ColumnInt(9),
	}, nil
}

// lost tells the holder of c why a conditional update did not find its stream; conflict is the answer when it still holds
// the stream.
func (w *writer) lost(c persistence.Claim, conflict func(persistence.Head) error) error {
	w.st.headByID.Int(1, c.StreamID)
	h, err := scanHead(w.st.headByID)
	switch {
	case err != nil:
		return err
	case h.Epoch == 0:
		return fmt.Errorf("claim is of another journal, this one has no stream %d: %w", c.StreamID, persistence.ErrInvalid)
	case h.Epoch != c.Epoch:
		return &persistence.FencedError{Key: c.Key, MyEpoch: c.Epoch, Epoch: h.Epoch, Owner: h.Owner, LastSeq: h.LastSeq}
	}
	h.Key = c.Key
	return conflict(h.Head)
}

func fromNanos(ns int64) time.Time { return time.Unix(0, ns).UTC() }
