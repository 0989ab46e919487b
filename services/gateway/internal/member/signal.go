package member

import (
	"go.opentelemetry.io/otel/trace/noop"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codes"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// signalsKept is how many of the last signals a refusal is recognised for. Signals are not answered otherwise.
const signalsKept = 16

// sentSignal is a signal that the room may still refuse.
type sentSignal struct {
	number uint64
	id     uint32
	room   string
}

// sendSignal passes a signal on. What becomes of it is not waited for.
func (c *Core) sendSignal(r *room, o *op) {
	c.number++
	o.frame.RoomId, o.frame.Request = r.id, c.number
	if _, err := c.out.Send(o.frame, nil, o.cmd.Span); err != nil {
		code := codeOf(err)
		c.fail(o, code, text(code), 0)
		return
	}
	if len(c.signals) == signalsKept {
		c.signals = append(c.signals[:0], c.signals[1:]...)
	}
	c.signals = append(c.signals, sentSignal{c.number, o.id, r.id})
	c.succeed(o, nil)
}

// signalRefused tells the client that a signal was not passed on because the member may not send it. That a room could not
// take it now is not told: signals promise nothing.
func (c *Core) signalRefused(f *roomv1.Frame) {
	refused := f.GetRefused()
	code := clientv1.ErrorCode(refused.GetCode())
	if refused == nil || codes.Retryable(code) {
		return
	}
	for i, s := range c.signals {
		if s.number == f.GetRequest() {
			c.signals = append(c.signals[:i], c.signals[i+1:]...)
			cause := &Command{Span: noop.Span{}}
			c.out.Reply(errorFrame(cause, s.id, code, refused.GetMessage(), refused.GetRetryAfterMs(), s.room, ""))
			return
		}
	}
}
