package member

import (
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

// Evicted says that a room took the member out: the hub has ended the stream that began with that Attachment and told the
// client. What the client asked of the room before is answered NOT_JOINED, or as the room decides it if it is on its way
// there.
func (c *Core) Evicted(now time.Time, room string, number uint64) {
	if c.phase != phaseOpen {
		return
	}
	r := c.rooms.At(room)
	if r == nil || !r.joined || r.attachment != number { // it has joined again since
		return
	}
	r.joined, r.attached = false, false
	c.unlist(r)
	c.pump(now, r)
	c.settle(now)
}

// unlist takes a room out of the session's row, which lists what a resume joins. A join or leave that is being carried out
// decides that itself.
func (c *Core) unlist(r *room) {
	if r.active == nil {
		c.want(r.id, false)
	}
}

// excludes tells whether a refused join says that the member is not in the room, or not any more, whatever was before.
func excludes(code clientv1.ErrorCode) bool {
	switch code {
	case clientv1.ErrorCode_ERROR_CODE_BANNED, clientv1.ErrorCode_ERROR_CODE_FORBIDDEN, clientv1.ErrorCode_ERROR_CODE_NOT_JOINED:
		return true
	default:
		return false
	}
}
