package member

import (
	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
)

// Messages of a Shard: each is a turn of one member.
type (
	commandMsg struct {
		to
		cmd Command
	}
	restMsg     struct{ to }
	silenceMsg  struct{ to }
	admittedMsg struct{ to }
	closedMsg   struct{ to }
	tickMsg     struct{ to }
	drainedMsg  struct{ to }
	replacedMsg struct{ to }
	// sessionGoneMsg says that the session's row is expired or deleted.
	sessionGoneMsg struct{ to }
	blockedMsg     struct {
		to
		block persistence.Block
	}
	drainMsg struct {
		to
		afterMS uint32
	}
	linkDownMsg struct {
		to
		node string
	}
	linkLostMsg struct {
		to
		node string
	}
	answerMsg struct {
		to
		from  string
		frame actorkit.Frame
	}
	evictedMsg struct {
		to
		room   string
		number uint64
	}
	// faultMsg says that a task of the member panicked.
	faultMsg  struct{ to }
	openedMsg struct {
		to
		opened Opened
	}
	// expiredMsg says that the proof of who the client is may have expired.
	expiredMsg       struct{ to }
	authenticatedMsg struct {
		to
		principal *Principal
		err       error
	}
	savedMsg struct {
		to
		version uint64
		err     error
	}
)
