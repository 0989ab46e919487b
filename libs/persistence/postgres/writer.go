package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/internal/gather"
)

// Times of one attempt to commit. Each is given twice the time of the one before; an attempt that is over may have been
// committed, and the next one finds out.
const (
	firstAttempt = 1500 * time.Millisecond
	lastAttempt  = 12 * time.Second
	// unblockAfter is how long an attempt waits before it looks for a client that holds a lane without being there.
	unblockAfter = time.Second
	firstPause   = 20 * time.Millisecond
	lastPause    = time.Second
)

// writer commits what its lanes have. One goroutine, one connection.
//
// What becomes of a batch:
//
//	encode ──► execute ──► every request won or lost ──► winners: nil
//	             ▲  │                                    losers: settle (settle.go)
//	             │  ├ refused, nothing in doubt ──► ErrUnavailable
//	             │  ├ poison, nothing in doubt  ──► each half by itself; one alone: its error
//	             │  └ deadlock, timeout, broken connection, canceled wait for replication
//	             └──────┘   the same parameters again, as long as anybody waits for the answer
//
// After a broken connection the batch is in doubt: it may have been committed. Executing it again is harmless, since the
// expected seqs are not the heads any more if it was, and a request that loses for this reason finds its own events. It is
// also necessary: it waits at the lanes for a transaction that is still under way, and its own commit, a real write even
// if all lose, is not answered before what it saw is as durable as an answer says.
type writer struct {
	b      *Backend
	number int
	enc    *appendEncoder
	batch  batch
	conn   *conn
	// prepared is appendSQL as conn knows it.
	prepared *pgconn.StatementDescription
	// message is the memory that batches are sent from.
	message messageMemory
	done    chan struct{}
}

func (w *writer) run() {
	defer close(w.done)
	for {
		gather.Runnable()
		if !w.b.lanes.take(w.number, &w.batch) {
			break
		}
		w.b.metrics.Taken(w.batch.events, w.batch.oldest)
		if len(w.batch.appends) > 0 {
			w.store(w.batch.appends, false)
		}
		if len(w.batch.claims) > 0 {
			w.claim(w.batch.claims, false)
		}
		w.b.lanes.release(&w.batch)
	}
	if w.conn != nil {
		w.b.farewell(w.conn)
	}
}

// errNotSent: the statement did not leave this process.
var errNotSent = errors.New("not sent")

// errDoubtful: somebody canceled the commit's wait for synchronous replication.
var errDoubtful = errors.New("wait for synchronous replication was canceled")

// store commits appends and answers them. doubt: an attempt before this one got no answer.
func (w *writer) store(requests []*request, doubt bool) {
	requests = w.enc.encode(requests, w.b.lanes.all)
	if len(requests) == 0 {
		return
	}
	end := w.b.traceCommit(requests)
	lost, doubt, err := w.execute(requests, doubt)
	end(len(lost), err)
	switch {
	case err == nil:
		w.settle(requests, lost, doubt)
	case judge(err) == poison && len(requests) > 1:
		w.b.log.Warn("a request breaks its transaction, looking for it", "requests", len(requests), "err", err)
		half := len(requests) / 2
		w.store(requests[:half], doubt)
		w.store(requests[half:], doubt)
	default:
		err = failure(err, doubt)
		for _, r := range requests {
			r.Answer(err)
		}
	}
}

// failure gives the error of a batch that was given up its class.
func failure(err error, doubt bool) error {
	switch {
	case doubt:
		return fmt.Errorf("commit: %w: %w", persistence.ErrUnknown, err)
	case errors.Is(err, persistence.ErrClosed):
		return err
	case judge(err) == poison:
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code[:2] == "23" {
			return fmt.Errorf("commit: stored already, beyond the head: %w: %w", persistence.ErrCorrupt, err)
		}
		return fmt.Errorf("commit: %w: %w", persistence.ErrInvalid, err)
	default:
		return fmt.Errorf("commit: %w: %w", persistence.ErrUnavailable, err)
	}
}

// execute sends what is encoded until the server has answered it. doubt: an attempt without an answer came before. An
// error means that the batch is given up.
func (w *writer) execute(requests []*request, before bool) (lost []int, doubt bool, err error) {
	r := w.b.newRetry(requests)
	r.doubt = before
	for r.next() {
		lost, err = w.attempt(r.timeout())
		if err == nil {
			if len(lost) < len(requests) { // else no event was stored
				w.b.recovered()
			}
			return lost, r.doubt, nil
		}
		if r.failed(err) {
			w.disconnect()
		}
	}
	return nil, r.doubt, r.err
}

// attempt executes once.
func (w *writer) attempt(timeout time.Duration) (lost []int, err error) {
	if err := w.connect(); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotSent, err)
	}
	begin, c := time.Now(), w.conn
	doubtful := c.doubtful.Load()
	inTime := c.within(timeout)
	watch := w.b.watchBlockers(c)
	w.message.reserve(c, w.enc.params[:])
	result := c.PgConn().ExecStatement(context.Background(), w.prepared, w.enc.params[:], binaryFormat, binaryFormat).Read()
	watch()
	if !inTime() && result.Err == nil {
		// The answer came as the socket was closed.
		w.disconnect()
	}
	if result.Err != nil {
		if pgconn.SafeToRetry(result.Err) {
			return nil, fmt.Errorf("%w: %w", errNotSent, result.Err)
		}
		return nil, result.Err
	}
	if c.doubtful.Load() != doubtful {
		return nil, errDoubtful
	}
	w.b.metrics.committed(w.number, time.Since(begin))
	for _, row := range result.Rows {
		lost = append(lost, int(binary.BigEndian.Uint64(row[0]))-1)
	}
	return lost, nil
}

// binaryFormat is the format of all parameters and results of appendSQL.
var binaryFormat = []int16{1}

const appendName = "parley_append"

// connect opens the connection if there is none.
func (w *writer) connect() error {
	if w.conn != nil && !w.conn.IsClosed() {
		return nil
	}
	w.disconnect()
	c, err := w.b.connectWriter(w.b.lifetime)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(w.b.lifetime, lastAttempt)
	defer cancel()
	if w.prepared, err = c.PgConn().Prepare(ctx, appendName, appendSQL, nil); err != nil {
		c.abort()
		return fmt.Errorf("prepare the append: %w", err)
	}
	w.conn = c
	return nil
}

func (w *writer) disconnect() {
	if w.conn != nil {
		w.conn.abort()
		w.conn = nil
		w.message.forget()
	}
}
