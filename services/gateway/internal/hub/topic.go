package hub

import (
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/gateway/internal/few"
	"github.com/parley-rt/parley/services/gateway/internal/ws"
)

// Config bounds what a topic keeps and how patient it is. Zero values mean the default named at each field.
type Config struct {
	// RingMessages and RingBytes bound the recent messages kept per room and encoding. Defaults 1,024 and 256 KiB.
	RingMessages, RingBytes int
	// PageMessages and PageBytes bound one page of catching up. Defaults 500 and 1 MiB.
	PageMessages, PageBytes int
	// TopicReads bounds the pages one room is asked for at once. Default 4.
	TopicReads int
	// SilenceAfter is how long a question may stay unanswered. Default 2 s.
	SilenceAfter time.Duration
	// RetryFirst is the first pause after a refusal; it doubles up to 8 times that. Default 100 ms.
	RetryFirst time.Duration
	// Linger is how long a room without connections stays subscribed. Default 10 s.
	Linger time.Duration
	// OnlineEvery is the least time between two reports of who is online. Default 200 ms.
	OnlineEvery time.Duration
	// WaitingBytes bounds the messages that wait for one of the hub's shards, of which there is one per core; more are
	// dropped and read again by pages. Default 32 MiB.
	WaitingBytes int
	// Backlog counts the pages that wait for connections with full outboxes, together with what waits in those. Default one of
	// ws.DefaultBacklogBytes of its own.
	Backlog *ws.Backlog
}

func (c Config) withDefaults() Config {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	dur := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.RingMessages, 1024)
	def(&c.RingBytes, 256<<10)
	def(&c.PageMessages, 500)
	def(&c.PageBytes, 1<<20)
	def(&c.TopicReads, 4)
	def(&c.WaitingBytes, 32<<20)
	if c.Backlog == nil {
		c.Backlog = ws.NewBacklog(0)
	}
	dur(&c.SilenceAfter, 2*time.Second)
	dur(&c.RetryFirst, 100*time.Millisecond)
	dur(&c.Linger, 10*time.Second)
	dur(&c.OnlineEvery, 200*time.Millisecond)
	return c
}

// Upstream is what topics do to the world beyond their connections. Nothing blocks.
type Upstream interface {
	// Send sends a request towards the room's owner and says where it went; avoid as in route.Router.
	Send(f *roomv1.Frame, avoid []string) (node string, err error)
	// SendTo sends to the node the topic is subscribed at.
	SendTo(node string, f *roomv1.Frame) error
	// Owner tells which node runs a room, as an answer showed.
	Owner(room, node string)
	// Number gives the next request number.
	Number() uint64
	// AcquireRead takes one of the node's places for pages; false: CanRead is called when there is one.
	AcquireRead(t *Topic) bool
	ReleaseRead()
	// Drained brings the sub back into the topic's own turn, by Topic.Resume.
	Drained(t *Topic, s *sub)
}

type phase int

const (
	phaseIdle phase = iota // never subscribed
	phaseSubscribing
	phaseLive
)

// Topic is one room at this node. Not safe for concurrent use: its shard's mailbox is the lock.
//
//	idle ──attach──► subscribing ──Subscribed──► live ──Closed, gap, higher epoch, link down or lost, heads differ──┐
//	                     ▲  │ refused, moved, silent: next node                                                     │
//	                     └──┴───────────────────────────────────────────────────────────────────────────────────────┘
//
// While it subscribes again, what it still receives in order is delivered as before.
type Topic struct {
	room string
	cfg  *Config
	up   Upstream

	phase       phase
	node        string // subscribed at
	epoch       uint64
	incarnation uint64
	last        uint64 // seq of the last message received in order
	minEpoch    uint64 // the newest that anybody told of

	number  uint64 // of the Subscribe that is out
	asked   string // the node it went to; empty: it waits for retryAt
	askedAt time.Time
	retryAt time.Time
	avoid   []string
	hops    int
	tries   int

	subs  few.Map[Sink, *sub]
	fans  [2]*fan
	reads reads
	kept  []keptPage // oldest first

	online     few.Map[string, uint32] // connections by member
	changed    map[string]struct{}
	reportedAt time.Time
	emptySince time.Time // zero: somebody is here

	removal uint64 // the newest event that took members out and that was applied here
	unsure  bool   // connections are held and no report that names them is out
	check   uint64 // number of the report that the room is to answer; 0: none is out
	checkAt time.Time

	owesFull bool   // the report of everybody could not be sent
	sent     int    // messages handed to connections; whoever counts them sets it back
	compared uint64 // last when the owner was last asked to compare
}

// NewTopic returns a room without connections.
func NewTopic(room string, cfg *Config, up Upstream) *Topic {
	return &Topic{room: room, cfg: cfg, up: up}
}

// Start is where a connection's stream begins or goes on.
type Start struct {
	Member             string
	Cursor             uint64
	Epoch, Incarnation uint64
	// As is the room's head of that join: the member was let in as of this seq.
	As uint64
	// Node answered the connection's join.
	Node string
	// Evictee hears when the room takes the member out, with Number; nil: nobody does.
	Evictee Evictee
	Number  uint64
	// First is sent before any message.
	First [][]byte
}

// Attach begins a connection's stream, or restarts it.
func (t *Topic) Attach(now time.Time, sink Sink, start Start) {
	s := t.subs.At(sink)
	if s == nil {
		s = &sub{topic: t, sink: sink, member: start.Member, fan: t.fan(sink.Codec())}
		s.fan.count++
		t.subs.Set(sink, s)
		t.dropFans()
		t.emptySince = time.Time{}
		t.count(s.member, 1)
	} else if s.state == subLive {
		s.fan.unlive(s)
	}
	t.reads.forget(s)
	s.turnTo(nil, 0)
	s.state, s.strikes = subIdle, 0
	s.cursor, s.incarnation = start.Cursor, start.Incarnation
	s.epoch, s.as, s.check, s.evictee, s.number = start.Epoch, start.As, 0, start.Evictee, start.Number
	s.foreign = false
	sink.SendAll(start.First)
	t.minEpoch = max(t.minEpoch, start.Epoch)
	if start.Node != "" {
		t.up.Owner(t.room, start.Node)
	}
	switch {
	case t.phase == phaseIdle, t.phase == phaseLive && start.Epoch > t.epoch:
		t.resubscribe(now, "")
	case t.phase == phaseLive:
		if s.incarnation != t.incarnation { // its join was answered before the history was cut
			t.rewind(s, t.last, t.incarnation)
			s.as, s.foreign = 0, true
		}
		t.advance(now, s)
	}
	t.report(now, false)
}

// Rejoin answers a join_room that changes nothing: seq is where the stream stands, so that a client that takes it for its
// cursor neither misses nor repeats a message.
func (t *Topic) Rejoin(sink Sink, id uint32) {
	if s := t.subs.At(sink); s != nil {
		sink.Send(joinedFrame(sink.Codec(), id, t.room, s.cursor, s.incarnation))
	}
}

// Detach ends a connection's stream; last, unless nil, is sent behind it.
func (t *Topic) Detach(now time.Time, sink Sink, last []byte) {
	s := t.subs.At(sink)
	if s != nil {
		if s.state == subLive {
			s.fan.unlive(s)
		}
		t.reads.forget(s)
		s.turnTo(nil, 0)
		s.state = subGone
		t.subs.Delete(sink)
		s.fan.count--
		t.count(s.member, -1)
		if t.subs.Len() == 0 {
			t.emptySince = now
		} else {
			t.dropFans()
		}
	}
	if last != nil {
		sink.Send(last)
	}
	t.report(now, false)
}

// fan returns the ring and connections of an encoding. A new one starts empty: its first connections read pages if they
// are behind.
func (t *Topic) fan(c codec.Codec) *fan {
	i := 0
	if !c.Text() {
		i = 1
	}
	if t.fans[i] == nil {
		t.fans[i] = &fan{codec: c, ring: ring{base: t.last}}
	}
	return t.fans[i]
}

// dropFans forgets encodings that nobody uses. A room without connections keeps its rings for the time it lingers.
func (t *Topic) dropFans() {
	for i, f := range t.fans {
		if f != nil && f.count == 0 {
			t.fans[i] = nil
		}
	}
}

// Empty says that the topic has lingered long enough and can be dropped, after Close.
func (t *Topic) Empty(now time.Time) bool {
	return t.subs.Len() == 0 && !t.emptySince.IsZero() && now.Sub(t.emptySince) >= t.cfg.Linger
}

// Close ends the subscription.
func (t *Topic) Close() {
	t.reads.clear(t.up)
	t.unkeep(len(t.kept))
	if t.node != "" {
		// A lost one costs a few deliveries that nobody wants, until the room hears of a change here.
		_ = t.up.SendTo(t.node, &roomv1.Frame{RoomId: t.room, Kind: &roomv1.Frame_Unsubscribe{Unsubscribe: &roomv1.Unsubscribe{}}})
	}
}

// Fail closes every connection, which then resumes. For a topic whose state cannot be trusted any more.
func (t *Topic) Fail() {
	t.unkeep(len(t.kept))
	for sink, s := range t.subs.All() {
		s.turnTo(nil, 0)
		sink.CloseWith(clientv1.CloseCode_CLOSE_CODE_INTERNAL)
	}
}

// Deliver takes new messages; it returns how many deliveries they made at once. Connections whose outboxes are full get
// the rest when there is room: see publish.
func (t *Topic) Deliver(now time.Time, from string, d *roomv1.Deliver) int {
	switch {
	case t.phase == phaseIdle || t.epoch == 0 || d.GetEpoch() < t.epoch || len(d.GetMessages()) == 0:
		return 0
	case d.GetEpoch() > t.epoch:
		if t.phase == phaseLive {
			t.up.Owner(t.room, from)
			t.resubscribe(now, "")
		}
		return 0
	case d.GetRemovalSeq() > t.removal: // somebody must not have these, and nobody knows who
		if t.phase == phaseLive {
			t.resubscribe(now, "")
		}
		return 0
	}
	first, end, last := 0, 0, t.last
	for i, m := range d.GetMessages() {
		if m.GetSeq() <= t.last {
			first, end = i+1, i+1
			continue
		}
		if m.GetPrevSeq() != last {
			break
		}
		last, end = m.GetSeq(), i+1
	}
	made := 0
	if fresh := d.GetMessages()[first:end]; len(fresh) > 0 {
		t.last = last
		made = t.publish(fresh)
	}
	if end < len(d.GetMessages()) && t.phase == phaseLive {
		t.resubscribe(now, "") // a gap: the owner is asked where it is now
	}
	return made
}

// publish puts messages that follow the last one into the rings and offers them to the live connections. One that cannot
// take all falls behind: it goes on when its outbox has room, with these, then from the ring or by pages.
func (t *Topic) publish(fresh []*roomv1.Message) int {
	seqs := make([]uint64, len(fresh))
	for i, m := range fresh {
		seqs[i] = m.GetSeq()
	}
	made := 0
	for _, f := range t.fans {
		if f == nil {
			continue
		}
		frames := messageFrames(f.codec, t.room, fresh)
		f.ring.append(seqs, frames, t.cfg.RingMessages, t.cfg.RingBytes)
		share := len(f.live)
		var rest *page                          // what did not fit somewhere, shared by all such connections
		for j := len(f.live) - 1; j >= 0; j-- { // backwards: the last takes the place of one that is taken out
			s := f.live[j]
			i := 0
			if s.cursor >= seqs[0] { // it joined at a head that was ahead of these
				i = firstAfter(seqs, s.cursor)
			}
			if i == len(seqs) {
				continue
			}
			n := s.sink.Offer(frames[i:], share, s)
			made += n
			if n > 0 {
				s.cursor = seqs[i+n-1]
			}
			if i+n < len(seqs) {
				if rest == nil {
					rest = &page{seqs: seqs, frames: frames, share: share}
				}
				f.unlive(s)
				s.turnTo(rest, i+n)
				s.full()
			}
		}
	}
	t.sent += made
	return made
}

// Signal passes an ephemeral event on to everybody but its sender; it returns how many got it.
func (t *Topic) Signal(s *roomv1.Signalled) int {
	if t.phase == phaseIdle || s.GetEpoch() < t.epoch {
		return 0
	}
	env := &clientv1.Envelope{Kind: &clientv1.Envelope_Signal{Signal: &clientv1.Signal{
		Target: t.room, Type: s.GetType(), Content: s.GetContent(), Sender: s.GetSender(),
	}}}
	var frames [len(t.fans)][]byte
	made := 0
	for i, f := range t.fans {
		if f == nil {
			continue
		}
		frame, err := Frame(f.codec, env)
		if err != nil {
			return made // not UTF-8: it came past a check that every gateway makes
		}
		frames[i] = frame
	}
	for _, sub := range t.subs.All() {
		if sub.member == s.GetSender() || sub.state == subHeld {
			continue
		}
		for i, f := range t.fans {
			if f == sub.fan {
				sub.sink.Send(frames[i])
				made++
			}
		}
	}
	return made
}
