package member

import (
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/parley-rt/parley/libs/persistence"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// Effects is what a Core does to the world. Calls come from within inputs, in order, and must not block or call back.
type Effects interface {
	// Reply queues a frame for the client.
	Reply(env *clientv1.Envelope)
	// Room says whether the client has read enough to be sent a page; if not, input Drained follows.
	Room() bool
	// Page queues a page that Room was asked for.
	Page(env *clientv1.Envelope)
	// Blocked says that the member is blocked, before its connection is closed for that. open: it was let in before.
	Blocked(open bool)
	// Close closes the connection behind everything queued. Nothing is asked of the Effects after it but Detach,
	// Entered and Done.
	Close(code clientv1.CloseCode)
	// Release gives the command's share of the read window back.
	Release(bytes int)

	// Enter takes a place among those that open their sessions; when there is none, it says no, and input Admitted follows.
	// Entered gives it back; Close does, too.
	Enter() bool
	Entered()
	// Later is in how long a client that is not let in is to come back.
	Later() time.Duration
	// Authenticate starts a task that checks a token. Input Authenticated follows; at most one is running.
	Authenticate(token string)
	// Expire asks for input Expired at that time, and not at the one asked for before.
	Expire(at time.Time)
	// OpenSession starts a task that resumes the session of token, or makes a new one if it is empty, not known or another
	// member's. member is who the client has proved to be; empty: a guest. attempt is the client's number of it; 0: none. Input
	// SessionOpened follows.
	OpenSession(member, token string, attempt uint64)
	// SaveRooms starts a task that stores the session's rooms. Input RoomsSaved with the same version follows. At most one
	// is running.
	SaveRooms(version uint64, rooms []string)

	// Send sends a request towards the room's owner and says to which node it went, passing over refusing ones, and over
	// avoid as long as another one is there. The error is ErrUnreachable or ErrBusy.
	Send(f *roomv1.Frame, avoid []string, span trace.Span) (node string, err error)

	// Owner tells which node runs a room, as an answer showed.
	Owner(room, node string)

	// Attach makes the connection part of the room's fan-out, or restarts its stream.
	Attach(a Attachment)
	// Rejoin answers a join_room that changes nothing, with the stream's present position.
	Rejoin(room string, id uint32)
	// Detach ends the room's stream; last, if any, is sent behind its last message.
	Detach(room string, last *clientv1.Envelope)

	// Wake asks for input Tick at that time or earlier.
	Wake(at time.Time)
	// Done reports that a command was answered: outcome is "ok" or the error's bare code.
	Done(cmd *Command, outcome string)
}

// Attachment is where a connection's stream in a room goes on.
type Attachment struct {
	Room string
	// Number tells this attachment from the connection's others; Core.Evicted comes with it.
	Number      uint64
	Cursor      uint64
	Epoch       uint64
	Incarnation uint64
	// As is the room's head as of which the member was let in.
	As uint64
	// Node answered the join: it runs the room.
	Node string
	// First is sent before any message: room_joined and possibly reset.
	First []*clientv1.Envelope
}

// Command is one frame of the client with its circumstances.
type Command struct {
	// Env is nil when Err is set.
	Env *clientv1.Envelope
	// Err says why the frame could not be read.
	Err *codec.DecodeError
	// Bytes is the frame's share of the read window.
	Bytes int
	// At is when it was received.
	At time.Time
	// More says that another one, or Rest, comes at once.
	More bool
	// Span is the command's, never nil. Done ends it.
	Span trace.Span
}

// Opened is the outcome of OpenSession.
type Opened struct {
	// Err: the store could not tell. Everything else is then meaningless.
	Err error
	// Blocked: the member may not connect. Everything else is then meaningless.
	Blocked *persistence.Block
	// Token is for the client to resume with.
	Token      string
	ID         string
	Generation uint64
	Member     string
	Rooms      []string
	Resumed    bool
	ExpiresAt  time.Time

	id persistence.SessionID
}
