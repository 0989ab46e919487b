package sqlite

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/internal/gather"
	"github.com/parley-rt/parley/libs/persistence/internal/migrations"
	"github.com/parley-rt/parley/libs/persistence/sqlite/internal/lite"
)

// writer is the one goroutine that changes the file. Everything here belongs to it.
//
// A batch goes through:
//
//	take ──► BEGIN ──► apply each ──► COMMIT ──► complete all
//	           ▲           │             │
//	           │           ├ refused: that request has its answer, the others go on
//	           └─ ROLLBACK ┼ poison: that request has its answer, once more without it
//	                       │             │
//	                       └ store error: ROLLBACK, all ErrUnavailable
//	                                     └ store error: ErrUnavailable if the disk is full (no commit
//	                                       record was written), else ErrUnknown
type writer struct {
	path    string
	queue   *queue
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics
	done    chan struct{}

	conn *lite.Conn // nil after it broke; opened again for the next batch
	st   *writeStatements

	// laneState is that of the current transaction, stored that of the last one committed.
	laneState
	stored laneState
	// at is the transaction's time.
	at time.Time
	// moved: the transaction moves or deletes checkpoints.
	moved bool
	// purges are the rows that wait to be deleted.
	purges purges

	// commit ends the transaction. A field, so that tests can make it fail.
	commit func() error
}

// laneState is what appends and claims go on from.
type laneState struct {
	// pos and claims are the last position and claim number given.
	pos, claims int64
	// part is the partition that events go to.
	part int64
}

// run works until the queue is closed and empty.
func (w *writer) run() {
	defer close(w.done)
	for {
		gather.Runnable()
		b := &batch{copied: make(chan struct{})}
		if !w.queue.take(b, !w.purges.any()) {
			return
		}
		if len(b.requests) > 0 {
			w.store(b)
		}
		if w.purges.any() {
			w.purge(len(b.requests) > 0)
		}
	}
}

// store applies and commits the batch and completes its requests.
func (w *writer) store(b *batch) {
	w.at = w.now()
	w.metrics.taken(b)
	err := w.apply(b)
	close(b.copied)
	if err == nil {
		if err = w.commit(); err != nil {
			err = w.commitFailed(err)
		} else {
			w.committed()
		}
	}
	for _, r := range b.requests {
		if err != nil && !r.poison {
			r.err = err
		}
		r.Answer(r.err)
	}
}

// committed takes over what the transaction changed.
func (w *writer) committed() {
	w.stored = w.laneState
	w.purges.paused = false
	if w.moved {
		w.checkpointsMoved()
	}
}

// apply leaves an open transaction with every request in it, or none and the error of all of them.
func (w *writer) apply(b *batch) error {
	for {
		if err := w.begin(); err != nil {
			return unavailable("begin", err)
		}
		broken := w.applyAll(b)
		if broken == nil {
			return nil
		}
		if !isPoison(broken.err) {
			err := unavailable("write", broken.err)
			w.log.Error("journal refuses writes", "err", broken.err)
			broken.err = nil
			return w.rolledBack(err)
		}
		broken.poison = true
		w.log.Error("request broke its transaction", "err", broken.err)
		if err := w.rolledBack(nil); err != nil {
			return err
		}
	}
}

// applyAll returns the request that broke the transaction.
func (w *writer) applyAll(b *batch) (broken *request) {
	for _, r := range b.requests {
		if r.poison {
			continue
		}
		r.err = r.apply(w)
		if r.err != nil && lite.As(r.err) != nil {
			return r
		}
	}
	return nil
}

func (w *writer) begin() error {
	if w.conn == nil {
		if err := w.open(); err != nil {
			return err
		}
		w.log.Info("journal connection opened again")
	}
	w.laneState, w.moved = w.stored, false
	return w.st.begin.Run()
}

// rolledBack ends the transaction without a change and returns err. A connection that cannot do that is given up:
// closing it rolls back.
func (w *writer) rolledBack(err error) error {
	if w.conn.InTransaction() {
		if rollback := w.st.rollback.Run(); rollback != nil {
			w.log.Error("rollback refused, closing the journal connection", "err", rollback)
			w.close()
			if err == nil {
				err = unavailable("roll back", rollback)
			}
		}
	}
	return err
}

// commitFailed says what a failed COMMIT means. A full disk stops the log before its commit record is complete. After any
// other error the record may be in the file, where a crash before the next commit would find it; nothing that was in
// memory is trusted then, the next batch starts on a new connection.
func (w *writer) commitFailed(err error) error {
	w.log.Error("commit refused", "err", err)
	if e := lite.As(err); e != nil && e.Code() == lite.CodeFull {
		return w.rolledBack(unavailable("commit", err))
	}
	w.close()
	return fmt.Errorf("commit: %w: %w", persistence.ErrUnknown, err)
}

func unavailable(what string, err error) error {
	return fmt.Errorf("%s: %w: %w", what, persistence.ErrUnavailable, err)
}

// isPoison tells errors that one request brings with it from those of the store.
func isPoison(err error) bool {
	switch lite.As(err).Code() {
	case lite.CodeConstraint, lite.CodeCorrupt, lite.CodeTooBig, lite.CodeMismatch, lite.CodeRange:
		return true
	}
	return false
}

// open connects, brings the schema up to date and finds the counters.
func (w *writer) open() (err error) {
	conn, err := connect(w.path)
	if err != nil {
		return err
	}
	w.conn = conn
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	steps, err := migrations.Load(migrationFiles)
	if err != nil {
		return err
	}
	if err := migrate(conn, steps, w.now()); err != nil {
		return err
	}
	if w.st, err = prepareWrites(conn); err != nil {
		return err
	}
	w.commit = w.st.commit.Run
	if err := w.loadLane(); err != nil {
		return err
	}
	return w.loadPurges()
}

// loadLane finds what appends and claims go on from.
func (w *writer) loadLane() error {
	for _, q := range []struct {
		to  *int64
		sql string
	}{
		{&w.stored.pos, "SELECT max(pos, ifnull((SELECT max(pos) FROM journal_event), 0)) FROM journal_lane WHERE lane = 0"},
		{&w.stored.part, "SELECT part FROM journal_lane WHERE lane = 0"},
		{&w.stored.claims, "SELECT ifnull(max(claim_no), 0) FROM journal_stream"},
	} {
		var err error
		if *q.to, err = queryInt(w.conn, q.sql); err != nil {
			return err
		}
	}
	return nil
}

// close closes the connection, which rolls back what is open.
func (w *writer) close() {
	if w.conn == nil {
		return
	}
	if w.st != nil {
		w.st.close()
	}
	if err := w.conn.Close(); err != nil {
		w.log.Error("close the journal connection", "err", err)
	}
	w.conn, w.st = nil, nil
}
