package member

import (
	"errors"
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-rt/parley/libs/opskit/auth"
	"github.com/parley-rt/parley/libs/persistence"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/gateway/internal/few"
)

// SessionOpened takes the outcome of OpenSession.
func (c *Core) SessionOpened(now time.Time, s Opened) {
	if c.phase != phaseOpening {
		return
	}
	if s.Err != nil {
		// A new session would be a new member, whose resent messages would be new messages: better try again.
		c.close(clientv1.CloseCode_CLOSE_CODE_INTERNAL)
		return
	}
	if s.Blocked != nil {
		c.Blocked(now, s.Blocked)
		return
	}
	c.phase, c.session = phaseOpen, s
	for _, r := range s.Rooms {
		c.wanted.Set(r, struct{}{})
	}
	joins, refused := c.resumed(now)
	c.watchExpiry()
	rooms := make([]string, 0, len(joins))
	for _, o := range joins {
		rooms = append(rooms, o.room)
	}
	slices.Sort(rooms)
	env := &clientv1.Envelope{Kind: &clientv1.Envelope_Session{Session: &clientv1.Session{
		Token: s.Token, MemberId: s.Member, Rooms: rooms, Resumed: s.Resumed,
		Node: c.cfg.Node, Dc: c.cfg.DC, ExpiresAt: timestamppb.New(s.ExpiresAt),
	}}}
	if c.principal != nil {
		env.GetSession().TokenExpiresAt = timeOf(c.principal.ExpiresAt)
	}
	if c.hello != nil {
		env.Id = c.hello.Env.GetId()
	}
	c.out.Reply(env)
	c.session.Token, c.session.Rooms = "", nil // nobody needs them any more, and they are as large as the rest
	c.refuseRooms(refused)
	if c.hello != nil {
		c.out.Release(c.hello.Bytes)
		c.out.Done(c.hello, outcomeOK)
		c.hello = nil
	}
	if c.entering = len(joins); c.entering == 0 {
		c.out.Entered()
	} else {
		c.enterBy = now.Add(c.cfg.HoldWithin)
		c.wake(c.enterBy)
	}
	for _, o := range joins {
		c.enqueue(now, o)
	}
	held := c.held
	c.held = nil
	for _, cmd := range held {
		c.command(now, cmd)
	}
	c.startGathered(now)
	c.settle(now)
}

// refusedRoom is a room that is not joined on opening.
type refusedRoom struct {
	room string
	code clientv1.ErrorCode
}

// resumed lists the rooms to join without being asked one by one: those of hello, with their cursors, and those of the
// session, from the head. Each gets exactly one answer: those that are refused an error, the others theirs when they are
// joined. Of a room that hello names twice the first mention counts.
func (c *Core) resumed(now time.Time) (joins []*op, refused []refusedRoom) {
	seen := map[string]bool{}
	add := func(room string, code clientv1.ErrorCode, cursor *roomv1.Cursor) {
		if seen[room] {
			return
		}
		seen[room] = true
		if code == 0 && !c.may(auth.Join, room) {
			code = clientv1.ErrorCode_ERROR_CODE_FORBIDDEN
		}
		if code == 0 && len(joins) == c.cfg.MaxRooms {
			code = clientv1.ErrorCode_ERROR_CODE_TOO_MANY_ROOMS
		}
		if code != 0 {
			refused = append(refused, refusedRoom{room, code})
			return
		}
		joins = append(joins, &op{kind: opJoin, entering: true, cmd: &Command{At: now, Span: noop.Span{}}, room: room, cursor: cursor})
	}
	for _, r := range c.helloRooms() {
		var cursor *roomv1.Cursor
		if r.AfterSeq != nil {
			cursor = &roomv1.Cursor{AfterSeq: r.GetAfterSeq(), AfterMessageId: r.GetAfterMessageId(), Incarnation: r.GetIncarnation()}
		}
		add(r.GetRoomId(), problem(r), cursor)
	}
	for _, r := range c.session.Rooms {
		add(r, 0, nil)
	}
	return joins, refused
}

func (c *Core) helloRooms() []*clientv1.RoomCursor {
	if c.hello == nil {
		return nil
	}
	return c.hello.Env.GetHello().GetRooms()
}

// refuseRooms answers the rooms that are not joined on opening and takes those of the session out of it: its row lists what
// a resume joins, and the client was told that this one does not.
func (c *Core) refuseRooms(refused []refusedRoom) {
	cause := c.hello
	if cause == nil {
		cause = &Command{Span: noopSpan}
	}
	for _, r := range refused {
		if c.wanted.Has(r.room) {
			c.want(r.room, false)
			c.leaveBehind(r.room, cause)
		}
		c.out.Reply(errorFrame(cause, 0, r.code, text(r.code), 0, echo(r.room), ""))
	}
}

func sortedRooms(rooms *few.Map[string, struct{}]) []string {
	list := make([]string, 0, rooms.Len())
	for room := range rooms.All() {
		list = append(list, room)
	}
	slices.Sort(list)
	return list
}

// noopSpan is the span of what no command has caused.
var noopSpan = noop.Span{}

func timeOf(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t) }

// startSave stores the wanted rooms if they changed and no save is running. What failed is not tried again by itself:
// whoever needed it was told, and the next change saves everything.
func (c *Core) startSave() {
	if c.saving || c.wantedVersion == c.savedVersion || c.wantedVersion == c.failedVersion {
		return
	}
	c.saving = true
	c.out.SaveRooms(c.wantedVersion, sortedRooms(&c.wanted))
}

// want changes what the session's row is to list and returns the version that a save must reach; 0: the row is known to
// say so about this room.
func (c *Core) want(room string, listed bool) uint64 {
	if c.wanted.Has(room) != listed {
		if listed {
			c.wanted.Set(room, struct{}{})
		} else {
			c.wanted.Delete(room)
		}
		return c.change(room)
	}
	version, unsaved := c.changes[room]
	if unsaved && version <= c.failedVersion {
		return c.change(room)
	}
	return version
}

func (c *Core) change(room string) uint64 {
	c.wantedVersion++
	if c.changes == nil {
		c.changes = map[string]uint64{}
	}
	c.changes[room] = c.wantedVersion
	return c.wantedVersion
}

// RoomsSaved takes the outcome of SaveRooms.
func (c *Core) RoomsSaved(now time.Time, version uint64, err error) {
	if c.phase != phaseOpen {
		return
	}
	c.saving = false
	switch {
	case errors.Is(err, persistence.ErrSessionReplaced):
		c.close(clientv1.CloseCode_CLOSE_CODE_SESSION_REPLACED)
		return
	case errors.Is(err, persistence.ErrSessionUnknown):
		c.close(clientv1.CloseCode_CLOSE_CODE_INTERNAL)
		return
	case err == nil:
		c.savedVersion = version
		maps.DeleteFunc(c.changes, func(_ string, changed uint64) bool { return changed <= version })
		if len(c.changes) == 0 {
			c.changes = nil
		}
	default:
		c.failedVersion = version
	}
	for _, r := range c.rooms.All() {
		if o := r.active; o != nil && o.version != 0 && o.version <= version {
			o.version = 0
			c.saved(now, r, o, err)
		}
	}
	c.settle(now)
}
