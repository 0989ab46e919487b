package member

import (
	"context"
	"errors"
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codes"

	"github.com/parley-rt/parley/libs/opskit/auth"
)

// Principal is who a client has proved to be.
type Principal struct {
	Member string
	// Grants say what it may do where.
	Grants auth.Grants
	// ExpiresAt is when the proof does; the connection is closed auth.ClockSkew later.
	ExpiresAt time.Time
}

// Authenticate checks a token. The error is an *auth.RefusedError, or auth.ErrKeys when nobody can tell now. It must be safe for
// concurrent use.
type Authenticate func(ctx context.Context, token string) (*Principal, error)

// closeAt is when a connection has lived too long.
func (p *Principal) closeAt() time.Time { return p.ExpiresAt.Add(auth.ClockSkew) }

// may tells whether the client's token allows something in a room. Without authentication everything is allowed; what the room
// itself allows is for the room to say.
func (c *Core) may(what auth.Capability, room string) bool {
	return c.principal == nil || c.principal.Grants.May(what, room)
}

// needs is what an op needs.
func (o *op) needs() auth.Capability {
	switch o.kind {
	case opJoin:
		return auth.Join
	case opPublish, opSignal:
		return auth.Publish
	case opHistory:
		return auth.History
	case opPresence:
		return auth.Presence
	default:
		return 0
	}
}

// forbid refuses an op that the client's token does not allow.
func (c *Core) forbid(o *op) {
	c.fail(o, clientv1.ErrorCode_ERROR_CODE_FORBIDDEN, forbiddenText(o.needs()), 0)
}

func forbiddenText(what auth.Capability) string {
	return "your token does not allow " + what.String() + " in this room"
}

// prove begins the opening of a connection that has to say who it is.
func (c *Core) prove(now time.Time) {
	token := ""
	if c.hello != nil {
		token = c.hello.Env.GetHello().GetToken()
	}
	switch {
	case token != "":
		c.phase, c.asked = phaseProving, now
		c.wake(now.Add(c.cfg.OpenWithin))
		c.out.Authenticate(token)
	case c.principal != nil: // it was in the handshake
		c.open(now)
	default:
		c.notProven(&auth.RefusedError{Reason: auth.ReasonMissing})
	}
}

// Authenticated takes the outcome of Authenticate.
func (c *Core) Authenticated(now time.Time, p *Principal, err error) {
	switch {
	case c.phase == phaseProving && err != nil:
		c.notProven(err)
	case c.phase == phaseProving:
		c.principal = p
		c.open(now)
	case c.phase == phaseOpen && c.renewal != nil:
		c.renewed(now, p, err)
		c.settle(now)
	}
}

// notProven sends a client away that did not prove who it is.
func (c *Core) notProven(err error) {
	code, closing, message := refusalOf(err)
	cause := c.hello
	if cause == nil {
		cause = &Command{Span: noopSpan}
	}
	c.out.Reply(errorFrame(cause, cause.Env.GetId(), code, message, 0, "", ""))
	c.close(closing)
}

// Expired says that it is time to look whether the proof has expired.
func (c *Core) Expired(now time.Time) {
	switch {
	case c.principal == nil:
	case !now.Before(c.principal.closeAt()):
		c.close(clientv1.CloseCode_CLOSE_CODE_TOKEN_EXPIRED)
	default: // the client has a newer token, or the clock went back: whoever was told is not told again by itself
		c.watchExpiry()
	}
}

// watchExpiry asks to be told when the proof expires.
func (c *Core) watchExpiry() {
	if c.principal != nil {
		c.out.Expire(c.principal.closeAt())
	}
}

// renew takes a new token of the client.
func (c *Core) renew(cmd *Command, token string) {
	id := cmd.Env.GetId()
	switch {
	case c.principal == nil:
		c.refuse(cmd, id, clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "this server asks for no tokens", "", "")
	case c.renewal != nil:
		c.refuse(cmd, id, clientv1.ErrorCode_ERROR_CODE_BUSY, "another token of this connection is being checked", "", "")
	case token == "":
		c.refuse(cmd, id, clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "token is missing", "", "")
	default:
		c.renewal = cmd
		c.out.Authenticate(token)
	}
}

// renewed takes the outcome: a token that is no good changes nothing.
func (c *Core) renewed(now time.Time, p *Principal, err error) {
	cmd := c.renewal
	c.renewal = nil
	id := cmd.Env.GetId()
	if err != nil {
		code, _, message := refusalOf(err)
		c.refuse(cmd, id, code, message, "", "")
		return
	}
	if p.Member != c.session.Member {
		c.refuse(cmd, id, clientv1.ErrorCode_ERROR_CODE_FORBIDDEN, "the token is another member's", "", "")
		return
	}
	c.principal = p
	c.watchExpiry()
	c.out.Reply(&clientv1.Envelope{Id: id, Kind: &clientv1.Envelope_Renewed{Renewed: &clientv1.Renewed{ExpiresAt: timeOf(p.ExpiresAt)}}})
	c.out.Release(cmd.Bytes)
	c.out.Done(cmd, outcomeOK)
	c.dropForbidden(now, cmd)
}

// dropForbidden takes the client out of the rooms that its new token does not let it be in.
func (c *Core) dropForbidden(now time.Time, cause *Command) {
	for _, room := range sortedRooms(&c.wanted) { // a join of it failed, or it is one of those below
		if r := c.rooms.At(room); !c.may(auth.Join, room) && (r == nil || !r.joined && r.active == nil) {
			c.want(room, false)
			c.leaveBehind(room, cause)
		}
	}
	for _, q := range c.snapshot() { // what could not be sent yet
		if o := q.ops[0]; c.requests[q.number] == q && !q.sent && !c.may(o.needs(), q.room.id) {
			c.refused(now, q, clientv1.ErrorCode_ERROR_CODE_FORBIDDEN, forbiddenText(o.needs()), 0)
		}
	}
	for _, r := range c.roomsByID() {
		if !r.joined && !r.attached || c.may(auth.Join, r.id) {
			continue
		}
		if r.joined && (r.active == nil || r.active.kind == opJoin) { // else it is leaving
			c.leaveBehind(r.id, cause)
		}
		r.joined = false
		c.unlist(r)
		if r.attached {
			r.attached = false
			c.out.Detach(r.id, &clientv1.Envelope{Kind: &clientv1.Envelope_RoomLeft{RoomLeft: &clientv1.RoomLeft{
				RoomId:  r.id,
				Reason:  codes.EvictionName(clientv1.EvictionReason_EVICTION_REASON_FORBIDDEN),
				Message: forbiddenText(auth.Join),
			}}})
		}
		c.pump(now, r)
	}
}

// refusalOf is the table: what the check of a token says → what the client is told, which is precise and gives nothing away that is
// not in the token, and how a connection is closed that has no other.
func refusalOf(err error) (code clientv1.ErrorCode, closing clientv1.CloseCode, message string) {
	var refused *auth.RefusedError
	if !errors.As(err, &refused) {
		return clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE, clientv1.CloseCode_CLOSE_CODE_INTERNAL, "whether the token is good cannot be told now"
	}
	code, closing = clientv1.ErrorCode_ERROR_CODE_UNAUTHENTICATED, clientv1.CloseCode_CLOSE_CODE_UNAUTHENTICATED
	switch refused.Reason {
	case auth.ReasonMissing:
		message = "a token is needed: send it in hello, as the first frame, or as a bearer token in the handshake"
	case auth.ReasonMalformed:
		message = "the token is malformed"
	case auth.ReasonAlgorithm:
		message = "the token is signed by an algorithm that is not taken here"
	case auth.ReasonSignature:
		message = "the token's signature is wrong"
	case auth.ReasonKey:
		message = "the token is signed with a key that its issuer does not publish"
	case auth.ReasonExpired: // a new one will do
		closing, message = clientv1.CloseCode_CLOSE_CODE_TOKEN_EXPIRED, "the token has expired"
	case auth.ReasonNotYetValid:
		message = "the token is not valid yet"
	case auth.ReasonIssuer:
		message = "the token's iss is not the one that is taken here"
	case auth.ReasonAudience:
		message = "the token's aud is for others"
	case ReasonMember:
		message = "the token's sub is no member id"
	default:
		message = "a claim of the token is missing or is not as it should be"
	}
	return code, closing, message
}

// RefusalText is what a client is told.
func RefusalText(err error) string {
	_, _, message := refusalOf(err)
	return message
}

// ReasonMember refuses a token whose sub is no member id.
const ReasonMember auth.Reason = "member"
