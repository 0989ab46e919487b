package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parley-rt/parley/e2e/history"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
)

// finish lets everything that was begun end, and returns what there is to know about every room.
func (w *World) finish(ctx context.Context, claims map[string][]history.Claim, n *nemesis) ([]*history.Record, error) {
	close(w.quit)
	var late []history.Violation
	ended, cancel := context.WithTimeout(ctx, history.DefaultBounds().Writable+history.DefaultBounds().Answer)
	defer cancel()
	for _, m := range w.members {
		for m.unanswered.Load() > 0 && pause(ended, tick) {
		}
		if n := m.unanswered.Load(); n > 0 {
			late = append(late, history.Violation{Promise: "L3", Room: m.roomID, Text: fmt.Sprintf("%d publishes of %s are not stored in the end", n, m.identity.member)})
		}
	}
	for _, p := range w.programs {
		select {
		case <-p.published:
		case <-ended.Done():
			late = append(late, history.Violation{Promise: "L3", Room: p.roomID, Text: "a publish of the SDK does not return in the end"})
		}
	}
	rows, err := rowsOf(ctx, w.postgres.URL())
	if err != nil {
		return nil, err
	}
	contents, unread := w.readRooms(ctx, rows)
	late = append(late, unread...)
	w.awaitHeads(ctx, contents)
	w.mu.Lock()
	defer w.mu.Unlock()
	records := make([]*history.Record, 0, len(w.recorders))
	for _, r := range w.recorders {
		record := r.Record()
		record.Content, record.Rows, record.Claims = contents[r.Room()], rows[r.Room()], claims[r.Room()]
		record.Excused, record.Healings = w.excuses, n.healings
		if w.silent[r.Room()] != nil {
			record.Prompt = n.prompt
		}
		for _, v := range late {
			if v.Room == r.Room() {
				record.Notes = append(record.Notes, v)
			}
		}
		records = append(records, record)
	}
	return records, nil
}

// readAtOnce is how many rooms are read beside each other at the end.
const readAtOnce = 4

// readRooms reads every room as a client does. All together have the time that a busy machine needs: rooms that nobody can read
// any more must not add up to hours. For those, which are violations, there is what the journal holds.
func (w *World) readRooms(ctx context.Context, rows map[string][]history.Row) (map[string][]*history.Entry, []history.Violation) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var mu sync.Mutex
	var unread []history.Violation
	contents := make(map[string][]*history.Entry)
	var reads errgroup.Group
	reads.SetLimit(readAtOnce)
	for i, r := range w.recorders {
		reads.Go(func() error {
			reader := identity{
				gateways: (&builder{world: w}).gatewayList(), codec: codec.Binary{}, record: r, random: rand.New(rand.NewPCG(0, uint64(i))),
			}
			content, err := reader.readAll(ctx, r.Room())
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				unread = append(unread, history.Violation{Promise: "L3", Room: r.Room(), Text: fmt.Sprintf("the room cannot be read in the end: %v", err)})
				content = entriesOf(rows[r.Room()])
			}
			contents[r.Room()] = content
			return nil
		})
	}
	_ = reads.Wait() // what went wrong is in unread
	return contents, unread
}

// entriesOf are the messages among the journal's events, for a room that no node can read any more.
func entriesOf(rows []history.Row) []*history.Entry {
	var entries []*history.Entry
	for _, row := range rows {
		if row.Entry != nil {
			entries = append(entries, row.Entry)
		}
	}
	return entries
}

// awaitHeads gives every member the time that it has to reach the head; whether it did, the check finds out.
func (w *World) awaitHeads(ctx context.Context, contents map[string][]*history.Entry) {
	ctx, cancel := context.WithTimeout(ctx, history.DefaultBounds().Head)
	defer cancel()
	await := func(room string, f *history.Follower) {
		content := contents[room]
		if len(content) == 0 {
			return
		}
		for head := content[len(content)-1].Seq; ; {
			at, grown := f.Grown()
			if at >= head {
				return
			}
			select {
			case <-grown:
			case <-ctx.Done():
				return
			}
		}
	}
	for _, m := range w.members {
		await(m.roomID, m.follower)
	}
	for _, p := range w.programs {
		await(p.roomID, p.follower)
	}
}

// roomPatience bounds the reading of one room.
const roomPatience = 30 * time.Second

// readAll reads a whole room page by page through a new connection.
func (i *identity) readAll(ctx context.Context, room string) ([]*history.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, roomPatience)
	defer cancel()
	w, err := i.open(ctx, &clientv1.RoomCursor{RoomId: room})
	if err != nil {
		return nil, err
	}
	defer func() { _ = w.socket.CloseNow() }()
	var content []*history.Entry
	after := uint64(0)
	for {
		if err := w.send(ctx, &clientv1.Envelope{Kind: &clientv1.Envelope_History{History: &clientv1.History{RoomId: room, AfterSeq: &after, Limit: 500}}}); err != nil {
			return nil, err
		}
		page, err := w.page(ctx)
		if err != nil {
			return nil, err
		}
		for _, m := range page.Messages {
			e := entryOf(m)
			content = append(content, &e)
			after = e.Seq
		}
		if !page.More {
			return content, nil
		}
	}
}

// page waits for a page of history; refusals that may be retried are too late in a run to be expected.
func (w *wire) page(ctx context.Context) (*clientv1.HistoryPage, error) {
	for {
		e, err := w.read(ctx)
		if err != nil {
			return nil, err
		}
		switch k := e.Kind.(type) {
		case *clientv1.Envelope_HistoryPage:
			return k.HistoryPage, nil
		case *clientv1.Envelope_Error:
			return nil, fmt.Errorf("history was refused: %s: %s", k.Error.Code, k.Error.Message)
		}
	}
}
