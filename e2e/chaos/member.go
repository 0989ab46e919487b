package chaos

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/parley-rt/parley/e2e/history"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

// member is a client in one room that records every frame: it follows the room over all its connections, by cursor, without a
// rule of its own against gaps and repeats; it may publish; and it may wander between gateways, leave and read history.
type member struct {
	identity
	roomID   string
	follower *history.Follower
	// producer is nil for members that only read.
	producer *history.Producer
	window   int
	// pace is the mean time between two new messages; 0: only those asked for by whisper.
	pace    time.Duration
	whisper chan struct{}
	// quit ends new messages.
	quit <-chan struct{}
	// restless members change gateways, leave and come back, and read history. They do not produce.
	restless bool

	pending []int // message numbers, in order
	sent    int
	// unanswered is how many are pending, for others.
	unanswered atomic.Int64
}

// retryAfter is how long a member waits with a retry when the server does not say.
const retryAfter = 50 * time.Millisecond

// run lives until ctx ends.
func (m *member) run(ctx context.Context) {
	for ctx.Err() == nil {
		cursor := m.cursor()
		w, err := m.open(ctx, cursor)
		if err != nil {
			return
		}
		c := &conversation{member: m, wire: w, asked: cursor.AfterSeq, retryAt: make(map[int]time.Time)}
		if m.producer != nil {
			m.producer.Connected(w.gateway.Name)
			m.producer.Sender(m.identity.member)
		}
		c.hold(ctx)
		_ = w.socket.CloseNow()
		if m.producer != nil {
			m.producer.Disconnected()
		}
		m.follower.Away()
	}
}

func (m *member) cursor() *clientv1.RoomCursor {
	seq, id := m.follower.Cursor()
	return &clientv1.RoomCursor{RoomId: m.roomID, AfterSeq: &seq, AfterMessageId: id}
}

// conversation is a member on one connection.
type conversation struct {
	*member
	wire   *wire
	joined bool
	// asked is the cursor of the last join.
	asked *uint64
	// joinAt is when to join again; zero: not.
	joinAt time.Time
	// retryAt are refused messages.
	retryAt map[int]time.Time
	heard   time.Time
	// wanderAt is when a restless member does something, goAt when the server wants the connection to end; zero: not.
	wanderAt, goAt time.Time
	nextAt         time.Time
	// away: the room is being left. leaveAt is when to ask for it; zero: not.
	away    bool
	leaveAt time.Time
}

// tick is how often a member looks for what is due.
const tick = 20 * time.Millisecond

// hold works the connection until it ends, ctx does, or the member has a reason to go.
func (c *conversation) hold(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	frames := make(chan *clientv1.Envelope, 64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		for {
			e, err := c.wire.read(ctx)
			if err != nil {
				c.refused(err)
				return
			}
			select {
			case frames <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	defer func() {
		cancel()
		_ = c.wire.socket.CloseNow() // wakes the reader
		<-done
	}()
	c.heard = time.Now()
	c.plan()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	pinged := time.Time{}
	for {
		select {
		case e := <-frames:
			c.heard = time.Now()
			if !c.take(ctx, e) {
				return
			}
		case <-c.whisper:
			if !c.publishNew(ctx) {
				return
			}
		case now := <-ticker.C:
			// The ticker's own time is that of a busy machine: what waits in frames was heard of before.
			if len(frames) > 0 {
				continue
			}
			if now.Sub(c.heard) > silentAfter {
				return
			}
			if now.Sub(c.heard) > pingEvery && now.Sub(pinged) > pingEvery {
				pinged = now
				if c.wire.send(ctx, &clientv1.Envelope{Kind: &clientv1.Envelope_Ping{Ping: &clientv1.Ping{}}}) != nil {
					return
				}
			}
			if !c.due(ctx, now) {
				return
			}
		case <-ctx.Done():
			// Whatever came before the end was received.
			for {
				select {
				case e := <-frames:
					c.take(context.WithoutCancel(ctx), e)
				default:
					return
				}
			}
		}
	}
}

// plan draws when a restless member does something.
func (c *conversation) plan() {
	if c.restless {
		c.wanderAt = time.Now().Add(5*time.Second + time.Duration(c.random.Int64N(int64(20*time.Second))))
	}
}

// due does what its time has come for. False: the connection is to end.
func (c *conversation) due(ctx context.Context, now time.Time) bool {
	if !c.joinAt.IsZero() && !now.Before(c.joinAt) {
		c.joinAt = time.Time{}
		cursor := c.cursor()
		c.asked = cursor.AfterSeq
		if c.wire.send(ctx, &clientv1.Envelope{Kind: &clientv1.Envelope_JoinRoom{JoinRoom: &clientv1.JoinRoom{
			RoomId: cursor.RoomId, AfterSeq: cursor.AfterSeq, AfterMessageId: cursor.AfterMessageId,
		}}}) != nil {
			return false
		}
	}
	if !c.leaveAt.IsZero() && !now.Before(c.leaveAt) {
		c.leaveAt = time.Time{}
		if c.wire.send(ctx, &clientv1.Envelope{Kind: &clientv1.Envelope_LeaveRoom{LeaveRoom: &clientv1.LeaveRoom{RoomId: c.roomID}}}) != nil {
			return false
		}
	}
	if !c.goAt.IsZero() && !now.Before(c.goAt) {
		c.at = (c.at + 1) % len(c.gateways)
		return false
	}
	if !c.wanderAt.IsZero() && !now.Before(c.wanderAt) {
		c.wanderAt = time.Time{}
		return c.wander(ctx)
	}
	if c.producer == nil || !c.joined {
		return true
	}
	for _, n := range c.pending {
		if at, ok := c.retryAt[n]; ok && !now.Before(at) {
			delete(c.retryAt, n)
			if !c.publish(ctx, n) {
				return false
			}
		}
	}
	if c.pace > 0 && !now.Before(c.nextAt) {
		c.nextAt = now.Add(c.pace/2 + time.Duration(c.random.Int64N(int64(c.pace))))
		return c.publishNew(ctx)
	}
	return true
}

// wander is what restless members do at times.
func (c *conversation) wander(ctx context.Context) bool {
	switch c.random.IntN(3) {
	case 0: // to another gateway
		c.at = (c.at + 1) % len(c.gateways)
		return false
	case 1: // out of the room and back
		if !c.joined || c.away {
			break
		}
		c.away, c.leaveAt = true, time.Now()
		c.follower.Leaving()
		c.plan()
		return true
	default: // look into the history
		if !c.joined || c.away {
			break
		}
		seq, _ := c.follower.Cursor()
		after := uint64(c.random.Int64N(int64(seq) + 1))
		c.plan()
		return c.wire.send(ctx, &clientv1.Envelope{Kind: &clientv1.Envelope_History{History: &clientv1.History{RoomId: c.roomID, AfterSeq: &after, Limit: 100}}}) == nil
	}
	c.plan()
	return true
}

// take handles a frame. False: the connection is to end.
func (c *conversation) take(ctx context.Context, e *clientv1.Envelope) bool {
	switch k := e.Kind.(type) {
	case *clientv1.Envelope_RoomJoined:
		again := c.joined
		c.joined = true
		c.follower.Joined(c.asked, k.RoomJoined.Seq, k.RoomJoined.Recovered, k.RoomJoined.Incarnation)
		if again || c.producer == nil {
			break
		}
		for _, n := range c.pending {
			if !c.publish(ctx, n) {
				return false
			}
		}
	case *clientv1.Envelope_RoomLeft:
		if !c.joined { // told before, unasked
			break
		}
		if !c.away { // nobody moderates here
			c.record.Note("protocol", "%s was taken out of the room: %q", c.identity.member, k.RoomLeft.Reason)
		}
		c.joined, c.away, c.leaveAt = false, false, time.Time{}
		c.follower.Away()
		c.joinAt = time.Now().Add(time.Duration(c.random.Int64N(int64(time.Second))))
	case *clientv1.Envelope_Message:
		c.follower.Received(entryOf(k.Message))
	case *clientv1.Envelope_Reset_:
		c.follower.Reset(k.Reset_.Seq, k.Reset_.Reason)
	case *clientv1.Envelope_HistoryPage:
		page := make([]history.Entry, len(k.HistoryPage.Messages))
		for i, m := range k.HistoryPage.Messages {
			page[i] = entryOf(m)
		}
		c.record.Page(c.identity.member, page)
	case *clientv1.Envelope_Ack:
		n, _ := c.producer.Answer(k.Ack.MessageId, history.Stored, k.Ack.Seq, "")
		c.settled(n)
	case *clientv1.Envelope_Error:
		c.refusedFrame(k.Error)
	case *clientv1.Envelope_Reconnect:
		c.goAt = time.Now().Add(time.Duration(k.Reconnect.AfterMs) * time.Millisecond)
	}
	return true
}

func (c *conversation) refusedFrame(e *clientv1.Error) {
	retry := time.Now().Add(max(retryAfter, time.Duration(e.RetryAfterMs)*time.Millisecond))
	if e.MessageId != "" && c.producer != nil {
		outcome := history.Refused
		if !e.Retryable {
			outcome = history.RefusedForGood
			c.record.Note("protocol", "%q was refused for good: %s: %s", e.MessageId, e.Code, e.Message)
		}
		n, _ := c.producer.Answer(e.MessageId, outcome, 0, e.Code)
		if outcome == history.RefusedForGood {
			c.settled(n)
		} else if slices.Contains(c.pending, n) {
			c.retryAt[n] = retry
		}
		return
	}
	switch {
	case !e.Retryable && !c.away:
		c.record.Note("protocol", "%s got %s: %s", c.identity.member, e.Code, e.Message)
	case e.RoomId == c.roomID && c.away:
		c.leaveAt = retry // the leave was refused
	case e.RoomId == c.roomID && !c.joined:
		c.joinAt = retry // the join was refused
	}
}

func (c *conversation) settled(n int) {
	if i := slices.Index(c.pending, n); i >= 0 {
		c.pending = slices.Delete(c.pending, i, i+1)
		c.unanswered.Store(int64(len(c.pending)))
	}
}

// publishNew sends one more message, unless the window is full or no more are wanted.
func (c *conversation) publishNew(ctx context.Context) bool {
	select {
	case <-c.quit:
		return true
	default:
	}
	if len(c.pending) >= c.window {
		return true
	}
	c.sent++
	c.pending = append(c.pending, c.sent)
	c.unanswered.Store(int64(len(c.pending)))
	if !c.joined {
		return true // with the join
	}
	return c.publish(ctx, c.sent)
}

func (c *conversation) publish(ctx context.Context, n int) bool {
	c.producer.Ask(n)
	id, content := c.producer.Message(n)
	return c.wire.send(ctx, &clientv1.Envelope{Kind: &clientv1.Envelope_Message{Message: &clientv1.Message{
		Target: c.roomID, MessageId: id, Content: content,
	}}}) == nil
}

func entryOf(m *clientv1.Message) history.Entry {
	return history.Entry{Seq: m.Seq, Prev: m.PrevSeq, ID: m.MessageId, Sender: m.Sender, Content: m.Content}
}
