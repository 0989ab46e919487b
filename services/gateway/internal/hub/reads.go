package hub

import (
	"slices"
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// maxStrikes pages that do not continue a connection's cursor close it: somebody is wrong, and guessing would be a gap.
const maxStrikes = 5

// ringStep is how many messages of the ring are tried at once while too much waits in this node.
const ringStep = 16

// read is one page that is asked for, for all connections that stand at the same cursor.
type read struct {
	after   uint64
	number  uint64 // 0: not asked yet, or to be asked again
	askedAt time.Time
	retryAt time.Time
	holds   bool // one of the node's places
	subs    []*sub
}

// reads are a topic's pages by cursor, in the order they are wanted.
type reads struct {
	queue []*read
}

func (r *reads) busy() bool { return len(r.queue) > 0 }

func (r *reads) has(number uint64) bool { return number != 0 && r.find(number) != nil }

func (r *reads) find(number uint64) *read {
	for _, q := range r.queue {
		if q.number == number {
			return q
		}
	}
	return nil
}

// add puts a sub on the page it needs. Connections at one cursor share it.
func (r *reads) add(s *sub) {
	for _, q := range r.queue {
		if q.after == s.cursor {
			q.subs = append(q.subs, s)
			return
		}
	}
	r.queue = append(r.queue, &read{after: s.cursor, subs: []*sub{s}})
}

// forget takes a sub off the page it waits for. The page itself is still taken when it comes.
func (r *reads) forget(s *sub) {
	if s.state != subReading {
		return
	}
	for _, q := range r.queue {
		if i := slices.Index(q.subs, s); i >= 0 {
			q.subs = slices.Delete(q.subs, i, i+1)
			return
		}
	}
}

// unwanted are pages that are not on their way and that nobody waits for any more.
func (r *reads) unwanted() []*read {
	var gone []*read
	for _, q := range r.queue {
		if len(q.subs) == 0 && q.number == 0 {
			gone = append(gone, q)
		}
	}
	return gone
}

func (r *reads) remove(q *read) {
	r.queue = slices.DeleteFunc(r.queue, func(o *read) bool { return o == q })
}

// covered takes out the pages that were not asked for yet and begin within this one, which was asked for after that seq, and
// returns who waits for them: those who come back together have missed much of the same.
func (r *reads) covered(up Upstream, after uint64, p *roomv1.Page) (subs []*sub) {
	messages := p.GetMessages()
	if len(messages) == 0 || len(r.queue) == 0 {
		return nil
	}
	last, places := messages[len(messages)-1].GetSeq(), 0
	r.queue = slices.DeleteFunc(r.queue, func(q *read) bool {
		if q.number != 0 || q.after < after || q.after >= last {
			return false
		}
		subs = append(subs, q.subs...)
		if q.holds {
			places++
		}
		return true
	})
	for range places { // who gets one may change the queue
		up.ReleaseRead()
	}
	return subs
}

// clear forgets all pages and returns who waited for them.
func (r *reads) clear(up Upstream) []*sub {
	var waiting []*sub
	for _, q := range r.queue {
		waiting = append(waiting, q.subs...)
	}
	queue := r.queue
	r.queue = nil
	for _, q := range queue {
		if q.holds {
			up.ReleaseRead()
		}
	}
	return waiting
}

// postpone asks for a page again at that time.
func (r *reads) postpone(number uint64, at time.Time) {
	if q := r.find(number); q != nil {
		q.number, q.retryAt = 0, at
	}
}

// silent says that a page was asked for and did not come.
func (r *reads) silent(now time.Time, after time.Duration) bool {
	return slices.ContainsFunc(r.queue, func(q *read) bool { return q.number != 0 && now.Sub(q.askedAt) >= after })
}

// advance brings a connection forward as far as it goes: rest of a page, ring, live; or asks for the next page.
func (t *Topic) advance(now time.Time, s *sub) {
	if s.as < t.removal {
		t.hold(s)
		return
	}
	for {
		if s.page != nil {
			n := s.sink.Offer(s.page.frames[s.pos:], s.page.share, s)
			s.pos += n
			t.sent += n
			if n > 0 {
				s.cursor = s.page.seqs[s.pos-1]
			}
			if s.pos < len(s.page.frames) {
				s.full()
				return
			}
			s.turnTo(nil, 0)
		}
		i, ok := s.fan.ring.after(s.cursor)
		if !ok {
			if t.turnToKept(now, s) {
				continue
			}
			s.state = subReading
			t.reads.add(s)
			t.startReads(now)
			return
		}
		if i == len(s.fan.ring.seqs) {
			s.fan.golive(s)
			return
		}
		end := len(s.fan.ring.seqs)
		if t.cfg.Backlog.Full() { // it will not get far, and come here again
			end = min(end, i+ringStep)
		}
		// A copy of the slices: the ring moves on while the outbox empties.
		s.turnTo(&page{seqs: slices.Clone(s.fan.ring.seqs[i:end]), frames: slices.Clone(s.fan.ring.frames[i:end]), share: s.fan.count}, 0)
	}
}

// Resume goes on with a connection whose outbox has room again.
func (t *Topic) Resume(now time.Time, s *sub) {
	if s.state != subFull {
		return
	}
	s.state = subIdle
	if t.phase == phaseLive {
		t.advance(now, s)
	}
}

// CanRead says that the node has a place for a page again.
func (t *Topic) CanRead(now time.Time) { t.startReads(now) }

// startReads asks for pages as far as the bounds allow.
func (t *Topic) startReads(now time.Time) {
	if t.phase != phaseLive {
		return
	}
	for _, q := range t.reads.unwanted() {
		t.reads.remove(q)
		if q.holds {
			t.up.ReleaseRead()
		}
	}
	for i, q := range t.reads.queue {
		if i >= t.cfg.TopicReads {
			return
		}
		if q.number != 0 || now.Before(q.retryAt) {
			continue
		}
		if !q.holds && !t.up.AcquireRead(t) {
			return
		}
		q.holds, q.number, q.askedAt = true, t.up.Number(), now
		after := q.after
		err := t.up.SendTo(t.node, &roomv1.Frame{RoomId: t.room, Request: q.number, Kind: &roomv1.Frame_Read{Read: &roomv1.Read{
			AfterSeq: &after, Limit: uint32(t.cfg.PageMessages), MaxBytes: uint32(t.cfg.PageBytes),
		}}})
		if err != nil {
			q.number, q.retryAt = 0, now.Add(t.cfg.RetryFirst)
		}
	}
}

// Page takes a page and hands it to everybody who waits for it.
func (t *Topic) Page(now time.Time, number uint64, p *roomv1.Page) {
	q := t.reads.find(number)
	if t.phase != phaseLive || q == nil || number == 0 {
		return
	}
	if p.GetEpoch() < t.epoch {
		t.reads.postpone(number, now.Add(t.cfg.RetryFirst))
		return
	}
	if p.GetEpoch() > t.epoch || p.GetIncarnation() != t.incarnation || p.GetRemovalSeq() > t.removal {
		t.resubscribe(now, "")
		return
	}
	t.reads.remove(q)
	t.up.ReleaseRead()
	subs := append(q.subs, t.reads.covered(t.up, q.after, p)...)
	var pages [len(t.fans)]*page
	for _, s := range subs {
		s.state = subIdle
		t.turn(now, s, p, &pages, len(subs))
	}
	for i, compiled := range pages {
		if compiled != nil && t.fans[i] != nil {
			t.keep(now, t.fans[i], q.after, p, compiled)
		}
	}
	t.startReads(now)
}

// turn gives a page to one connection, of share that get it.
func (t *Topic) turn(now time.Time, s *sub, p *roomv1.Page, pages *[2]*page, share int) {
	if p.GetTrimmed() > s.cursor {
		s.sink.Send(resetFrame(s.sink.Codec(), t.room, p.GetTrimmed(), clientv1.ResetReason_RESET_REASON_TRIMMED))
		s.cursor = p.GetTrimmed()
	}
	fresh := p.GetMessages()
	for len(fresh) > 0 && fresh[0].GetSeq() <= s.cursor {
		fresh = fresh[1:]
	}
	_, inRing := s.fan.ring.after(s.cursor)
	if !contiguous(s.cursor, fresh) || len(fresh) == 0 && !inRing {
		t.strike(now, s)
		return
	}
	s.strikes = 0
	if len(fresh) > 0 {
		which := 0
		if t.fans[1] == s.fan {
			which = 1
		}
		if pages[which] == nil {
			pages[which] = t.compile(s.fan, p.GetMessages())
			pages[which].share = share
		}
		s.turnTo(pages[which], len(p.GetMessages())-len(fresh))
	}
	t.advance(now, s)
}

// strike deals with a page that does not continue the cursor: it is asked for once more after a pause, a few times.
func (t *Topic) strike(now time.Time, s *sub) {
	if s.strikes++; s.strikes >= maxStrikes {
		s.sink.CloseWith(clientv1.CloseCode_CLOSE_CODE_INTERNAL)
		return
	}
	s.state = subReading
	t.reads.add(s)
	for _, q := range t.reads.queue {
		if q.after == s.cursor && q.number == 0 {
			q.retryAt = now.Add(t.cfg.RetryFirst)
		}
	}
}

func (t *Topic) compile(f *fan, messages []*roomv1.Message) *page {
	p := &page{seqs: make([]uint64, len(messages)), frames: make([][]byte, len(messages))}
	for i, m := range messages {
		p.seqs[i], p.frames[i] = m.GetSeq(), messageFrame(f.codec, t.room, m)
	}
	return p
}

// contiguous says that the messages continue a cursor without a gap.
func contiguous(cursor uint64, messages []*roomv1.Message) bool {
	for i, m := range messages {
		if i == 0 && m.GetPrevSeq() > cursor || i > 0 && m.GetPrevSeq() != messages[i-1].GetSeq() || m.GetSeq() <= cursor {
			return false
		}
		cursor = m.GetSeq()
	}
	return true
}
