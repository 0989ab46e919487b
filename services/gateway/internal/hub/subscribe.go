package hub

import (
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

const (
	// maxHops bounds how often a Subscribe follows Moved without a pause.
	maxHops = 3
	// maxBackoff bounds the doublings of RetryFirst.
	maxBackoff = 3
)

// resubscribe asks for the subscription anew, not at avoid unless nobody else is there.
func (t *Topic) resubscribe(now time.Time, avoid string) {
	t.phase, t.hops, t.tries = phaseSubscribing, 0, 0
	t.avoid = t.avoid[:0]
	if avoid != "" {
		t.avoid = append(t.avoid, avoid)
	}
	// Pages that are on their way may be of another epoch: they are asked for again when it is known.
	for _, s := range t.reads.clear(t.up) {
		s.state = subIdle
	}
	t.subscribe(now)
}

func (t *Topic) subscribe(now time.Time) {
	t.number = t.up.Number()
	node, err := t.up.Send(&roomv1.Frame{RoomId: t.room, Request: t.number, Kind: &roomv1.Frame_Subscribe{Subscribe: &roomv1.Subscribe{}}}, t.avoid)
	if err != nil {
		t.later(now, 0)
		return
	}
	t.asked, t.askedAt = node, now
}

// later subscribes after a pause.
func (t *Topic) later(now time.Time, atLeast time.Duration) {
	t.asked, t.hops = "", 0
	t.retryAt = now.Add(max(atLeast, t.cfg.RetryFirst<<min(t.tries, maxBackoff)))
	t.tries++
}

// Subscribed takes the answer to a Subscribe.
func (t *Topic) Subscribed(now time.Time, from string, number uint64, s *roomv1.Subscribed) {
	if t.phase != phaseSubscribing || number != t.number {
		return
	}
	if s.GetEpoch() < max(t.epoch, t.minEpoch) { // a former owner that does not know yet
		t.avoid = append(t.avoid[:0], from)
		t.later(now, 0)
		return
	}
	t.up.Owner(t.room, from)
	first := t.epoch == 0
	rewound := !first && (s.GetIncarnation() != t.incarnation || s.GetLastMessageSeq() < t.last)
	t.phase, t.node, t.asked = phaseLive, from, ""
	t.epoch, t.incarnation = s.GetEpoch(), s.GetIncarnation()
	t.removals(s)
	if first || rewound || s.GetLastMessageSeq() > t.last {
		t.restart(s)
	}
	for _, sub := range t.subs.All() { // also those whose join was answered before the history was cut
		if sub.incarnation != t.incarnation {
			t.rewind(sub, s.GetHead(), t.incarnation)
		}
	}
	t.report(now, true)
	t.compared = t.last
	for _, s := range t.subs.All() {
		if s.state == subIdle {
			t.advance(now, s)
		}
	}
}

// restart begins the rings at the room's last message. Connections behind it catch up from their cursors; those ahead of
// it saw a history that is gone.
func (t *Topic) restart(s *roomv1.Subscribed) {
	t.last = s.GetLastMessageSeq()
	for _, f := range t.fans {
		if f != nil {
			f.ring.restart(t.last)
		}
	}
	for _, sub := range t.subs.All() {
		if sub.cursor > s.GetHead() {
			t.rewind(sub, s.GetHead(), s.GetIncarnation())
		}
		if sub.state == subLive && sub.cursor < t.last {
			sub.fan.unlive(sub)
		}
	}
}

// rewind lets a connection that saw a history that is gone go on at head.
func (t *Topic) rewind(s *sub, head, incarnation uint64) {
	s.sink.Send(resetFrame(s.sink.Codec(), t.room, head, clientv1.ResetReason_RESET_REASON_REWOUND))
	s.cursor, s.incarnation = head, incarnation
	s.turnTo(nil, 0)
	if s.state == subFull {
		s.state = subIdle
	}
}

// Moved and Refused take other answers to a Subscribe, and to a page that was asked of a node that lost the room.
func (t *Topic) Moved(now time.Time, from string, number uint64, owner string) {
	if owner != "" {
		t.up.Owner(t.room, owner)
	}
	switch {
	case t.phase == phaseSubscribing && number == t.number:
		if t.hops++; t.hops > maxHops {
			t.later(now, 0)
			return
		}
		t.avoid = t.avoid[:0]
		if owner != from { // else it starts anew there
			t.avoid = append(t.avoid, from)
		}
		t.subscribe(now)
	case t.phase == phaseLive && t.reads.has(number):
		t.resubscribe(now, "")
	}
}

// Refused takes a refusal of a Subscribe or a page.
func (t *Topic) Refused(now time.Time, number uint64, r *roomv1.Refused) {
	pause := time.Duration(r.GetRetryAfterMs()) * time.Millisecond
	switch {
	case t.phase == phaseSubscribing && number == t.number:
		t.later(now, pause)
	case t.phase == phaseLive && t.reads.has(number):
		t.reads.postpone(number, now.Add(max(pause, t.cfg.RetryFirst)))
	}
}

// Closed takes the end of the subscription. Epoch 0 is a node that does not run the room.
func (t *Topic) Closed(now time.Time, from string, c *roomv1.Closed) {
	if t.phase != phaseLive || c.GetEpoch() < t.epoch && (c.GetEpoch() != 0 || from != t.node) {
		return
	}
	avoid := from
	if c.GetOwner() != "" {
		t.up.Owner(t.room, c.GetOwner())
		if c.GetOwner() == from {
			avoid = ""
		}
	}
	t.resubscribe(now, avoid)
}

// Lost says that frames from a node are missing, Gone that it should not be asked if there is another. Both concern only
// topics that are subscribed there or are asking there.
func (t *Topic) Lost(now time.Time, node string) {
	if t.concerns(node) {
		t.resubscribe(now, "")
	}
}

// Gone is described at Lost.
func (t *Topic) Gone(now time.Time, node string) {
	if t.concerns(node) {
		t.resubscribe(now, node)
	}
}

func (t *Topic) concerns(node string) bool {
	return t.phase == phaseLive && t.node == node || t.phase == phaseSubscribing && t.asked == node
}

// Node is where the topic is subscribed; empty when it is not.
func (t *Topic) Node() string {
	if t.phase != phaseLive {
		return ""
	}
	return t.node
}

// Compare returns what this node believes of the room, for the owner to compare, and whether that changed since the last
// time. The caller sends it on or not.
func (t *Topic) Compare() (head *roomv1.RoomHead, changed bool) {
	changed, t.compared = t.compared != t.last, t.last
	return &roomv1.RoomHead{RoomId: t.room, Epoch: t.epoch, LastMessageSeq: t.last}, changed
}

// Differs says that the owner sees it differently.
func (t *Topic) Differs(now time.Time, from string) {
	if t.phase == phaseLive && t.node == from {
		t.resubscribe(now, "")
	}
}

// Tick does what is due.
func (t *Topic) Tick(now time.Time) {
	t.expire(now)
	switch {
	case t.phase == phaseSubscribing && t.asked == "":
		if !now.Before(t.retryAt) {
			t.subscribe(now)
		}
	case t.phase == phaseSubscribing && now.Sub(t.askedAt) >= t.cfg.SilenceAfter:
		t.avoid = append(t.avoid[:0], t.asked)
		t.subscribe(now)
	case t.phase == phaseLive && t.reads.silent(now, t.cfg.SilenceAfter):
		t.resubscribe(now, "")
	case t.phase == phaseLive && t.check != 0 && now.Sub(t.checkAt) >= t.cfg.SilenceAfter:
		t.resubscribe(now, "")
	case t.phase == phaseLive:
		t.startReads(now)
	}
	t.report(now, false)
}

// Busy says that Tick has something to wait for.
func (t *Topic) Busy() bool {
	return t.phase == phaseSubscribing || t.reads.busy() || len(t.changed) > 0 || t.owesFull || t.check != 0 || t.unsure || t.subs.Len() == 0 || len(t.kept) > 0
}

// count notes a connection that came or went.
func (t *Topic) count(member string, by int) {
	n := int(t.online.At(member)) + by
	if n <= 0 {
		t.online.Delete(member)
	} else {
		t.online.Set(member, uint32(n))
	}
	if t.changed == nil {
		t.changed = map[string]struct{}{}
	}
	t.changed[member] = struct{}{}
}

// report tells the room who is online here: everybody after a subscription and when connections are held, then changes,
// several in one.
func (t *Topic) report(now time.Time, full bool) {
	ask := t.unsure && t.check == 0
	full = full || t.owesFull || ask
	if t.phase != phaseLive || !full && (len(t.changed) == 0 || now.Sub(t.reportedAt) < t.cfg.OnlineEvery) {
		return
	}
	o := &roomv1.Online{Full: full}
	if full {
		for member, n := range t.online.All() {
			o.Members = append(o.Members, &roomv1.Present{MemberId: member, Connections: n})
		}
	} else {
		for member := range t.changed {
			o.Members = append(o.Members, &roomv1.Present{MemberId: member, Connections: t.online.At(member)})
		}
	}
	t.reportedAt = now
	f := &roomv1.Frame{RoomId: t.room, Kind: &roomv1.Frame_Online{Online: o}}
	if ask {
		f.Request = t.name(now)
	}
	if t.up.SendTo(t.node, f) == nil {
		t.changed, t.owesFull = nil, false
		return
	}
	t.owesFull = full
	if ask {
		t.check, t.unsure = 0, true
	}
}
