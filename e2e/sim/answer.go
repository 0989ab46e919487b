package sim

import "time"

// compareHeads answers a hub that wants to know whether it is behind.
func (h *host) compareHeads(in *inbound) {
	var differ []roomID
	for _, believed := range in.frame.heads {
		s := h.slots[believed.room]
		if s == nil || s.state != running || s.a.epoch != believed.epoch || s.a.last > believed.last {
			differ = append(differ, believed.room)
		}
	}
	if len(differ) > 0 {
		_ = h.n.links.send(in.from, &frame{kind: differFrame, rooms: differ})
	}
}

// reply sends an answer back. One that the Link does not take is lost: the asker asks again.
func (h *host) reply(in *inbound, f *frame) {
	f.room, f.conn, f.request = in.frame.room, in.frame.conn, in.frame.request
	_ = h.n.links.send(in.from, f)
}

func (h *host) refuse(in *inbound, c code, retryAfter time.Duration) {
	if !in.unanswered() {
		h.reply(in, &frame{kind: refusedFrame, code: c, retryAfter: retryAfter})
	}
}

// moved sends the asker on; without an owner it must choose itself.
func (h *host) moved(in *inbound, owner *process) {
	if !in.unanswered() {
		h.reply(in, &frame{kind: movedFrame, owner: owner})
	}
}
