package parley

import (
	"context"
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

// collect appends what is to be sent now to out and returns when to look again by time alone; zero: never.
func (c *Client) collect(now time.Time, out []*clientv1.Envelope) ([]*clientv1.Envelope, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := &work{c: c, now: now, out: out, at: c.reconnectAt}
	if c.pingDue {
		c.pingDue = false
		w.out = append(w.out, &clientv1.Envelope{Kind: &clientv1.Envelope_Ping{Ping: &clientv1.Ping{}}})
	}
	if renewal := c.renewal; renewal != nil {
		if env := renewal.frame(); env != nil {
			w.send(purpose{renew: renewal}, env)
		}
	}
	for _, r := range c.order {
		w.room(r)
	}
	for _, s := range c.signals {
		w.out = append(w.out, &clientv1.Envelope{Id: signalID, Kind: &clientv1.Envelope_Signal{Signal: s}})
	}
	c.signals = nil
	return w.out, w.at
}

// work gathers frames and the next time that matters.
type work struct {
	c   *Client
	now time.Time
	out []*clientv1.Envelope
	at  time.Time
}

// due tells whether t has come; if not, the writer comes back then.
func (w *work) due(t time.Time) bool {
	if !w.now.Before(t) {
		return true
	}
	w.sooner(t)
	return false
}

func (w *work) sooner(t time.Time) {
	if !t.IsZero() && (w.at.IsZero() || t.Before(w.at)) {
		w.at = t
	}
}

func (w *work) room(r *Room) {
	timeout := w.c.cfg.AnswerTimeout
	if r.phase == leaving {
		if w.due(r.leaveAt) {
			r.leaveAt = w.now.Add(timeout)
			w.sooner(r.leaveAt)
			w.send(purpose{room: r}, &clientv1.Envelope{
				Kind: &clientv1.Envelope_LeaveRoom{LeaveRoom: &clientv1.LeaveRoom{RoomId: r.id}},
			})
		}
		return
	}
	if !r.askedAt.IsZero() && w.due(r.askedAt.Add(timeout)) {
		r.askedAt, r.wantJoin = time.Time{}, true
	}
	if r.wantJoin && r.askedAt.IsZero() && w.due(r.joinAt) {
		r.wantJoin, r.askedAt, r.joinAt = false, w.now, w.now.Add(rejoinPause)
		w.sooner(r.askedAt.Add(timeout))
		cursor := r.roomCursor()
		w.send(purpose{room: r, join: true}, &clientv1.Envelope{Kind: &clientv1.Envelope_JoinRoom{JoinRoom: &clientv1.JoinRoom{
			RoomId: r.id, AfterSeq: cursor.AfterSeq, AfterMessageId: cursor.GetAfterMessageId(), Incarnation: cursor.GetIncarnation(),
		}}})
	}
	if !r.confirmed {
		return
	}
	for _, call := range r.calls {
		w.call(r, call, timeout)
	}
	r.outbox.unanswered(w.now, timeout)
	for _, p := range r.outbox.take(w.now) {
		if p.attempts == 1 {
			p.floor = r.head
		}
		delete(w.c.asked, p.frameID)
		p.frameID = w.c.frameID(purpose{room: r, pub: p})
		w.out = append(w.out, publishFrame(p.frameID, p.msg))
	}
	w.sooner(r.outbox.wakeAt(timeout))
}

func (w *work) call(r *Room, call *call, timeout time.Duration) {
	if !call.sentAt.IsZero() && !w.due(call.sentAt.Add(timeout)) {
		return
	}
	if !w.due(call.notBefore) {
		return
	}
	call.attempts++
	call.sentAt = w.now
	w.sooner(w.now.Add(timeout))
	// A copy: the frame of an earlier attempt may still be in the writer's hands.
	w.send(purpose{room: r, call: call}, &clientv1.Envelope{Kind: call.frame.GetKind()})
}

func (w *work) send(p purpose, env *clientv1.Envelope) {
	env.Id = w.c.frameID(p)
	w.out = append(w.out, env)
}

// roomCursor is the room's position as join_room and hello carry it. A lagging room asks for the head: what it would be
// sent from its cursor, it would drop.
func (r *Room) roomCursor() *clientv1.RoomCursor {
	out := &clientv1.RoomCursor{RoomId: r.id}
	if !r.stream.placed || r.lagging.Load() {
		return out
	}
	seq := r.stream.cursor.Seq
	out.AfterSeq = &seq
	out.AfterMessageId = r.stream.cursor.MessageID
	out.Incarnation = r.stream.cursor.Incarnation
	return out
}

// hello makes the first frame of a connection. It asks for every room that is not being left.
func (c *Client) hello(token string, now time.Time) *clientv1.Envelope {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attempt = max(c.attempt+1, uint64(now.UnixMilli()))
	hello := &clientv1.Hello{Token: token, SessionToken: c.session.Token, Attempt: c.attempt}
	for _, r := range c.order {
		if r.phase == leaving {
			continue
		}
		r.wantJoin, r.askedAt, r.joinAt = false, now, now.Add(rejoinPause)
		hello.Rooms = append(hello.Rooms, r.roomCursor())
	}
	return &clientv1.Envelope{Id: helloID, Kind: &clientv1.Envelope_Hello{Hello: hello}}
}

// opensSession takes the server's first frame.
func (c *Client) opensSession(s *clientv1.Session) {
	c.mu.Lock()
	before := c.session.MemberID
	c.session = Session{
		Token:     s.GetToken(),
		MemberID:  s.GetMemberId(),
		Rooms:     s.GetRooms(),
		Resumed:   s.GetResumed(),
		Node:      s.GetNode(),
		DC:        s.GetDc(),
		ExpiresAt: timeOf(s.GetExpiresAt()),

		TokenExpiresAt: timeOf(s.GetTokenExpiresAt()),
	}
	if before != "" && before != s.GetMemberId() {
		for _, r := range c.order {
			r.outbox.memberChanged()
		}
	}
	c.serverError = nil
	c.mu.Unlock()
	if c.cfg.OnSession != nil {
		c.cfg.OnSession(c.Session())
	}
}

// disconnected forgets what belongs to a connection, and returns when the server wants the next one; zero: it did not say.
func (c *Client) disconnected() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.reconnectAt
	c.reconnectAt, c.pingDue, c.signals, c.renewal = time.Time{}, false, nil, nil
	if c.helpless != nil {
		c.helpless.disconnected()
	}
	clear(c.asked)
	for _, r := range c.order {
		r.confirmed, r.askedAt, r.leaveAt = false, time.Time{}, time.Time{}
		r.stream.gap = false
		r.wantJoin = true
		r.outbox.disconnected()
		for _, call := range r.calls {
			call.sentAt, call.notBefore = time.Time{}, time.Time{}
		}
	}
	return at
}

// reconnectDue tells whether it is time to follow the server's reconnect frame.
func (c *Client) reconnectDue(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.reconnectAt.IsZero() && !now.Before(c.reconnectAt)
}

// cancelOnStop makes Close end an attempt to connect. The returned function releases it.
func (r *runner) cancelOnStop(ctx context.Context, cancel context.CancelFunc) func() {
	finished := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-r.c.stop:
			cancel()
		case <-ctx.Done():
		case <-finished:
		}
	}()
	return func() {
		close(finished)
		<-ended
	}
}
