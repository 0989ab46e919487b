package room

import (
	"context"
	"errors"
	"fmt"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/persistence"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/rooms/internal/room/core"
)

// pages answers readers: from the room's tail where it reaches, else from the journal, a few reads at a time.
type pages struct {
	room    *Room
	reading int
	waiting []pageWanted
}

type pageWanted struct {
	in    *Inbound
	query core.PageQuery
}

// pageRead reports a page from the journal.
type pageRead struct {
	in       *Inbound
	messages []*roomv1.Message
	more     bool
	trimmed  uint64
	err      error
}

func (p *pages) read(rctx *actor.ReceiveContext, in *Inbound, read *roomv1.Read) {
	r := p.room
	state := r.stream.State()
	if read.MemberId != "" {
		if denial := state.Unread(&r.roster, read.MemberId, r.env.Now()); denial != nil {
			r.deny(in, denial)
			return
		}
	}
	query, ok := core.NewPageQuery(read, state.Head(), state.Trimmed())
	if !ok {
		r.refuse(in, clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "at most one bound, and before_seq above 0", 0)
		return
	}
	if messages, more, ok := query.FromTail(state.Tail()); ok {
		r.env.Metrics.reads.Add(context.Background(), 1, r.env.Metrics.fromTail)
		p.answer(in, messages, more)
		return
	}
	wanted := pageWanted{in: in, query: query}
	if p.reading < r.env.Limits.Reads {
		p.start(rctx, wanted)
		return
	}
	if len(p.waiting) >= r.env.Limits.ReadQueue {
		r.refuse(in, clientv1.ErrorCode_ERROR_CODE_BUSY, "too many are reading the room's history", busyRetryAfter)
		return
	}
	p.waiting = append(p.waiting, wanted)
}

func (p *pages) start(rctx *actor.ReceiveContext, w pageWanted) {
	r := p.room
	p.reading++
	r.env.Metrics.reads.Add(context.Background(), 1, r.env.Metrics.fromStore)
	env, key := r.env, r.streamKey()
	r.task(rctx, func(ctx context.Context) any {
		select {
		case env.Reads <- struct{}{}:
			defer func() { <-env.Reads }()
		case <-ctx.Done():
			return &pageRead{in: w.in, err: fmt.Errorf("wait for a read of the journal: %w", persistence.ErrOverloaded)}
		}
		return readPage(ctx, env.Journal, key, w)
	}, func(err error) any { return &pageRead{in: w.in, err: err} })
}

// readPage reads windows of events until the page is full. When retention moved on meanwhile it starts again above it.
func readPage(ctx context.Context, journal persistence.Journal, key persistence.StreamKey, w pageWanted) *pageRead {
	for {
		messages, more, err := collect(ctx, journal, key, w.query)
		if !errors.Is(err, persistence.ErrTrimmed) {
			return &pageRead{in: w.in, messages: messages, more: more, trimmed: w.query.Trimmed, err: err}
		}
		head, err := journal.Head(ctx, key)
		if err != nil || head.TrimSeq <= w.query.Trimmed {
			return &pageRead{in: w.in, err: errors.Join(persistence.ErrUnavailable, err)}
		}
		w.query.Trimmed = head.TrimSeq
		if w.query.Forward {
			w.query.Bound = max(w.query.Bound, head.TrimSeq)
		}
	}
}

func collect(ctx context.Context, journal persistence.Journal, key persistence.StreamKey, q core.PageQuery) ([]*roomv1.Message, bool, error) {
	c := core.NewCollector(q)
	for {
		from, done := c.Next()
		if done {
			messages, more := c.Page()
			return messages, more, nil
		}
		var events []persistence.Event
		var err error
		if q.Forward {
			events, err = journal.Read(ctx, key, from, c.Window())
		} else {
			events, err = journal.ReadReverse(ctx, key, from, c.Window())
		}
		if err == nil {
			err = c.Add(events)
		}
		if err != nil {
			return nil, false, fmt.Errorf("read page at %d: %w", from, err)
		}
	}
}

func (p *pages) done(rctx *actor.ReceiveContext, m *pageRead) {
	r := p.room
	r.tasks--
	p.reading--
	switch {
	case r.dead != nil:
		r.moved(m.in)
	case m.err != nil:
		code, retryAfter := refusalOf(m.err)
		r.refuse(m.in, code, "the room's history could not be read", retryAfter)
	default:
		r.stream.State().Raise(m.trimmed)
		p.answer(m.in, m.messages, m.more)
	}
	for len(p.waiting) > 0 && p.reading < r.env.Limits.Reads {
		w := p.waiting[0]
		p.waiting = p.waiting[1:]
		if r.dead != nil {
			r.moved(w.in)
			continue
		}
		p.start(rctx, w)
	}
}

func (p *pages) answer(in *Inbound, messages []*roomv1.Message, more bool) {
	r := p.room
	state := r.stream.State()
	r.answer(in, &roomv1.Frame{Kind: &roomv1.Frame_Page{Page: &roomv1.Page{
		Messages:    messages,
		More:        more,
		Head:        state.Head(),
		Trimmed:     state.Trimmed(),
		Epoch:       r.epoch(),
		Incarnation: r.stream.Claim().Incarnation,
		RemovalSeq:  r.removal,
	}}})
}
