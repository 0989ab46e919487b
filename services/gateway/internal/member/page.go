package member

import (
	"slices"
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// pumpPages asks for the next page when the last was answered and the client has read enough.
func (c *Core) pumpPages(now time.Time) {
	for c.page == nil && len(c.pages) > 0 && c.out.Room() {
		o := c.pages[0]
		c.pages = slices.Delete(c.pages, 0, 1)
		r := c.rooms.At(o.room)
		if r == nil || !r.joined {
			c.fail(o, clientv1.ErrorCode_ERROR_CODE_NOT_JOINED, text(clientv1.ErrorCode_ERROR_CODE_NOT_JOINED), 0)
			continue
		}
		if !c.may(o.needs(), o.room) {
			c.forbid(o)
			continue
		}
		// Its time starts now: until here it was the client that did not read.
		o.cmd.At = now
		c.page = c.ask(now, r, []*op{o}, o.frame)
	}
}

// expirePages answers pages that wait for another one that the room does not answer. As long as it is the client that
// does not read, they wait: see Drained.
func (c *Core) expirePages(now time.Time) {
	for c.page != nil && len(c.pages) > 0 && !now.Before(c.pages[0].cmd.At.Add(c.cfg.AnswerWithin)) {
		o := c.pages[0]
		c.pages = slices.Delete(c.pages, 0, 1)
		c.fail(o, clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE, text(clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE), 0)
	}
}

func historyPage(room string, p *roomv1.Page) *clientv1.Envelope {
	out := &clientv1.HistoryPage{RoomId: room, More: p.GetMore(), Messages: make([]*clientv1.Message, len(p.GetMessages()))}
	for i, m := range p.GetMessages() {
		out.Messages[i] = &clientv1.Message{
			Target: room, Content: m.GetContent(), MessageId: m.GetMessageId(), SentAt: m.GetSentAt(),
			Traceparent: m.GetTraceparent(), Tracestate: m.GetTracestate(),
			Sender: m.GetSender(), Seq: m.GetSeq(), PrevSeq: m.GetPrevSeq(),
		}
	}
	return &clientv1.Envelope{Kind: &clientv1.Envelope_HistoryPage{HistoryPage: out}}
}

// fit keeps an encoded page within its limit: rooms count what messages weigh unescaped, and JSON may write one byte as
// six. The page keeps the messages next to the bound that the client gave: the first of them when it reads forward, else
// the last.
func fit(env *clientv1.Envelope, forward bool) *clientv1.Envelope {
	page := env.GetHistoryPage()
	var scratch []byte
	size := func(m *clientv1.Message) int {
		b, err := codec.AppendJSON(scratch[:0], &clientv1.Envelope{Kind: &clientv1.Envelope_Message{Message: m}})
		if err != nil {
			return historyMaxBytes
		}
		scratch = b
		return len(b)
	}
	kept, bytes, total := 0, pageOverhead, len(page.Messages)
	for kept < total {
		next := page.Messages[kept]
		if !forward {
			next = page.Messages[total-1-kept]
		}
		bytes += size(next)
		if bytes > historyMaxBytes && kept > 0 {
			break
		}
		kept++
	}
	if kept == total {
		return env
	}
	page.More = true
	if forward {
		page.Messages = page.Messages[:kept]
	} else {
		page.Messages = page.Messages[total-kept:]
	}
	return env
}

// pageOverhead is what surrounds the messages of a page: names, room id, echoed id.
const pageOverhead = 256

func presenceState(room string, p *roomv1.PresenceList) *clientv1.Envelope {
	members := p.GetMembers()[:min(len(p.GetMembers()), presenceMax)]
	out := &clientv1.PresenceState{RoomId: room, Count: p.GetCount(), Members: make([]*clientv1.PresentMember, len(members))}
	for i, m := range members {
		out.Members[i] = &clientv1.PresentMember{MemberId: m.GetMemberId(), Connections: m.GetConnections()}
	}
	return &clientv1.Envelope{Kind: &clientv1.Envelope_PresenceState{PresenceState: out}}
}
