package parley

import "time"

// State is what a Client is doing about its connection.
//
//	          ┌────────────┐  session   ┌───────────┐
//	Dial ───► │ Connecting │ ─────────► │ Connected │
//	          └────────────┘ ◄───────── └───────────┘
//	                │      connection lost    │
//	                └──── Close, refusal ─────┴───► Disconnected (for good)
type State int

// The states.
const (
	// Connecting covers the waits between attempts too.
	Connecting State = iota
	Connected
	Disconnected
)

// String returns the state in lower case.
func (s State) String() string {
	switch s {
	case Connecting:
		return "connecting"
	case Connected:
		return "connected"
	default:
		return "disconnected"
	}
}

// StateChange is what Config.OnState gets.
type StateChange struct {
	State State
	// Err is why the last connection or attempt ended; nil when Connected and after Close.
	Err error
	// RetryIn is the wait before the next attempt, with Connecting.
	RetryIn time.Duration
}

// Session is the server's side of a Client: it outlives connections, and with its Token processes.
type Session struct {
	// Token resumes the session. It changes with every connection; the newest one counts.
	Token    string
	MemberID string
	// Rooms the session is a member of.
	Rooms []string
	// Resumed is false for a new session.
	Resumed   bool
	Node, DC  string
	ExpiresAt time.Time
	// TokenExpiresAt is when the member's JWT does; zero without one. A Client with Config.GetToken renews it before.
	TokenExpiresAt time.Time
}
