package parley

import (
	"context"
	"fmt"
	"iter"
	"time"
)

const (
	// stallLimit is how long a full buffer may keep the Client from reading its connection.
	stallLimit = 250 * time.Millisecond
	// rejoinPause is the least time between two joins for the sake of one stream.
	rejoinPause = 100 * time.Millisecond
)

// Messages yields the room's messages in order, none missing and none twice. Between two messages that are not consecutive
// it yields a *ResetError; the iteration goes on after it. Any other error ends the iteration: ctx's, ErrLeft, ErrClosed,
// the server's refusal of the room, or what ended the Client. Breaking off loses nothing: the next call goes on.
//
// Messages that arrive before they are asked for wait in a buffer of JoinOptions.Buffer messages. When it is full the Client
// stops reading its connection for up to 250 ms, which slows down the server and the Client's other rooms. After that it
// drops this room's messages, so that answers and other rooms get through, and has the server send them again once half of
// the buffer is free. A consumer that falls behind by more than the server replays gets a *ResetError.
//
// One consumer at a time: of several each gets a part of the messages.
func (r *Room) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for {
			it, err := r.next(ctx)
			switch {
			case err != nil:
				yield(Message{}, fmt.Errorf("messages of %s: %w", r.id, err))
				return
			case it.reset != nil:
				r.consume(Cursor{Seq: it.reset.Seq, Incarnation: it.incarnation})
				if !yield(Message{}, it.reset) {
					return
				}
			default:
				m := messageOf(it.msg, r.id, it.incarnation)
				r.consume(m.Cursor())
				if !yield(m, nil) {
					return
				}
			}
		}
	}
}

// next returns what is buffered before it returns an end.
func (r *Room) next(ctx context.Context) (item, error) {
	if err := ctx.Err(); err != nil {
		return item{}, err
	}
	if r.lagging.Load() && r.drained() {
		r.catchUp()
	}
	select {
	case it := <-r.items:
		return it, nil
	default:
	}
	select {
	case it := <-r.items:
		return it, nil
	case <-ctx.Done():
		return item{}, ctx.Err()
	case <-r.ended:
	}
	select {
	case it := <-r.items:
		return it, nil
	default:
		return item{}, r.err
	}
}

func (r *Room) drained() bool { return len(r.items) <= cap(r.items)/2 }

// catchUp asks for what was dropped.
func (r *Room) catchUp() {
	r.client.mu.Lock()
	defer r.client.mu.Unlock()
	r.catchUpLocked()
}

func (r *Room) catchUpLocked() {
	if !r.lagging.Load() {
		return
	}
	r.lagging.Store(false)
	// A join that is on its way asked for the head, because the room lagged.
	if r.confirmed || !r.askedAt.IsZero() {
		// What arrives before the answer does not follow the cursor, and need not be noticed as a gap.
		r.stream.gap = true
		r.rejoin(time.Now())
		r.client.wakeWriter()
	}
}

// offer puts an item into the buffer. It waits up to stallLimit for a place. false: it has none; the connection ends or the
// room lags.
func (r *Room) offer(done <-chan struct{}, it item) bool {
	select {
	case r.items <- it:
		return true
	default:
	}
	timer := time.NewTimer(stallLimit)
	defer timer.Stop()
	select {
	case r.items <- it:
		return true
	case <-timer.C:
	case <-done:
	case <-r.ended:
	}
	return false
}

// lag gives up on the stream until the consumer has caught up.
func (r *Room) lag() {
	r.lagging.Store(true)
	// The consumer may have emptied the buffer in the meantime and be waiting: then nobody else would start again.
	if r.drained() {
		r.catchUpLocked()
	}
}
