// Package logkey names the attributes of Parley's log lines, so that one thing
// has one name in every service and can be searched for.
package logkey

// Attribute names. All are snake_case; ids are strings, durations are
// slog durations, Err is an error.
const (
	Component  = "component"
	Service    = "service"
	DC         = "dc"
	Node       = "node"
	Peer       = "peer"
	RoomID     = "room_id"
	MemberID   = "member_id"
	SessionID  = "session_id"
	MessageID  = "message_id"
	Seq        = "seq"
	Epoch      = "epoch"
	Addr       = "addr"
	Reason     = "reason"
	Duration   = "duration"
	Check      = "check"
	Err        = "err"
	TraceID    = "trace_id"
	SpanID     = "span_id"
	Suppressed = "suppressed"
)
