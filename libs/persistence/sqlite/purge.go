package sqlite

import (
	"container/heap"

	"github.com/parley-rt/parley/libs/persistence/sqlite/internal/lite"
)

// Bounds of the rows deleted by one transaction: few while requests wait, more while none do; and the bytes of their
// payloads, as deleting a large one takes as long as reading it.
const (
	purgeBusy  = 100
	purgeIdle  = 1000
	purgeBytes = 4 << 20
)

// purges are the rows that wait to be deleted.
type purges struct {
	// dropped: rows of dropped partitions do.
	dropped bool
	// ready are streams with trimmed rows, in the order of their trims.
	ready []int64
	// held are streams whose next row a checkpoint has not passed yet.
	held heldStreams
	// known has all of ready and held.
	known map[int64]struct{}
	// paused: the last try failed.
	paused bool
}

func (p *purges) add(id int64) {
	if _, known := p.known[id]; !known {
		p.known[id] = struct{}{}
		p.ready = append(p.ready, id)
	}
}

func (p *purges) any() bool { return !p.paused && (p.dropped || len(p.ready) > 0) }

// hold sets a stream aside until every checkpoint has passed pos.
func (p *purges) hold(id, pos int64) { heap.Push(&p.held, heldStream{id: id, pos: pos}) }

// passed makes the streams ready whose next row every checkpoint has passed.
func (p *purges) passed(pos int64) {
	for len(p.held) > 0 && p.held[0].pos <= pos {
		p.ready = append(p.ready, heap.Pop(&p.held).(heldStream).id)
	}
}

// heldStream is a stream whose next row to delete is at pos.
type heldStream struct{ id, pos int64 }

// heldStreams are a heap by position.
type heldStreams []heldStream

func (h heldStreams) Len() int           { return len(h) }
func (h heldStreams) Less(i, j int) bool { return h[i].pos < h[j].pos }
func (h heldStreams) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *heldStreams) Push(x any)        { *h = append(*h, x.(heldStream)) }
func (h *heldStreams) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// purge deletes some rows in a transaction of its own. After an error nothing is tried until a commit has succeeded: a
// full disk takes no deletions either.
func (w *writer) purge(busy bool) {
	budget := &purgeBudget{rows: purgeIdle, bytes: purgeBytes}
	if busy {
		budget.rows = purgeBusy
	}
	done, err := w.purgeSome(budget)
	if err != nil {
		w.log.Warn("trimmed events stay for now", "err", err)
		w.purges.paused = true
		return
	}
	done(&w.purges)
}

// purgeBudget is what is left of a transaction's bounds. The first row is always within it.
type purgeBudget struct{ rows, bytes int64 }

func (b *purgeBudget) take(bytes int64) bool {
	if b.rows <= 0 || b.bytes <= 0 {
		return false
	}
	b.rows, b.bytes = b.rows-1, b.bytes-bytes
	return true
}

// purgeSome returns what its commit means for the lists.
func (w *writer) purgeSome(budget *purgeBudget) (done func(*purges), err error) {
	if err := w.begin(); err != nil {
		return nil, err
	}
	done, err = w.purgeRows(budget)
	if err == nil {
		w.st.saveLane.Int(1, w.pos)
		err = w.st.saveLane.Run()
	}
	if err != nil {
		return nil, w.rolledBack(err)
	}
	if err := w.commit(); err != nil {
		return nil, w.commitFailed(err)
	}
	return done, nil
}

func (w *writer) purgeRows(budget *purgeBudget) (done func(*purges), err error) {
	trim, purged, checkpoint, err := w.purgeLimits()
	if err != nil {
		return nil, err
	}
	dropping := purged < trim
	if dropping {
		if dropping, err = w.purgeDropped(trim, budget); err != nil {
			return nil, err
		}
	}
	streams, held := 0, []heldStream{}
	for ; streams < len(w.purges.ready) && budget.take(0); streams++ {
		id := w.purges.ready[streams]
		more, at, err := w.purgeStream(id, checkpoint, budget)
		if err != nil {
			return nil, err
		}
		if more && at == 0 {
			break
		}
		held = append(held, heldStream{id: id, pos: at})
	}
	return func(p *purges) {
		p.dropped = dropping
		p.ready = p.ready[streams:]
		for _, h := range held {
			if h.pos > 0 {
				p.hold(h.id, h.pos)
			} else {
				delete(p.known, h.id)
			}
		}
	}, nil
}

// purgeLimits returns up to where partitions were dropped and their rows deleted, and the least checkpoint.
func (w *writer) purgeLimits() (trim, purged, checkpoint int64, err error) {
	s := w.st.purgeLimits
	row, err := s.Step()
	if err != nil || !row {
		return 0, 0, 0, err
	}
	defer s.Reset()
	return s.ColumnInt(0), s.ColumnInt(1), s.ColumnInt(2), nil
}

// purgeStream deletes trimmed rows of a stream, oldest first. With more, some are left: at tells the position of the first
// if a checkpoint has not passed it.
func (w *writer) purgeStream(id, checkpoint int64, budget *purgeBudget) (more bool, at int64, err error) {
	s := w.st.purgeState
	s.Int(1, id)
	row, err := s.Step()
	if err != nil || !row {
		return false, 0, err
	}
	purged, trim := s.ColumnInt(0), s.ColumnInt(1)
	s.Reset()
	upTo := purged
	rows := w.st.purgeRows
	rows.Int(1, id)
	rows.Int(2, trim)
	defer rows.Reset()
	for {
		row, err := rows.Step()
		if err != nil {
			return false, 0, err
		}
		if !row {
			upTo = trim
			break
		}
		if rows.ColumnInt(1) > checkpoint {
			more, at = true, rows.ColumnInt(1)
			break
		}
		if !budget.take(rows.ColumnInt(2)) {
			more = true
			break
		}
		upTo = rows.ColumnInt(0)
	}
	rows.Reset()
	if upTo == purged {
		return more, at, nil
	}
	for _, s := range []*lite.Stmt{w.st.purgeEvents, w.st.purged} {
		s.Int(1, id)
		s.Int(2, upTo)
		if err := s.Run(); err != nil {
			return false, 0, err
		}
	}
	return more, at, nil
}

// purgeDropped deletes rows of dropped partitions, oldest first, and moves the trim_seq of their streams along.
func (w *writer) purgeDropped(trim int64, budget *purgeBudget) (more bool, err error) {
	rows := w.st.droppedRows
	rows.Int(1, trim)
	defer rows.Reset()
	upTo := int64(0)
	for {
		row, err := rows.Step()
		if err != nil {
			return false, err
		}
		if !row {
			upTo = trim
			break
		}
		if !budget.take(rows.ColumnInt(1)) {
			more = true
			break
		}
		upTo = rows.ColumnInt(0)
	}
	rows.Reset()
	for _, s := range []*lite.Stmt{w.st.droppedTrims, w.st.droppedEvents, w.st.purgedLane} {
		s.Int(1, upTo)
		if err := s.Run(); err != nil {
			return false, err
		}
	}
	return more, nil
}

// checkpointsMoved looks for rows that wait for a checkpoint no more.
func (w *writer) checkpointsMoved() {
	if len(w.purges.held) == 0 {
		return
	}
	_, _, checkpoint, err := w.purgeLimits()
	if err != nil {
		w.log.Warn("trimmed events stay until a checkpoint moves again", "err", err)
		return
	}
	w.purges.passed(checkpoint)
}

// loadPurges finds what an earlier process, or connection, left behind.
func (w *writer) loadPurges() error {
	w.purges = purges{known: map[int64]struct{}{}}
	behind, err := queryInt(w.conn, "SELECT purged_pos < trim_pos FROM journal_lane WHERE lane = 0")
	if err != nil {
		return err
	}
	w.purges.dropped = behind != 0
	s, err := w.conn.Prepare("SELECT stream_id FROM journal_stream WHERE trim_seq > purged_seq")
	if err != nil {
		return err
	}
	defer s.Close()
	for {
		row, err := s.Step()
		if err != nil || !row {
			return err
		}
		w.purges.add(s.ColumnInt(0))
	}
}
