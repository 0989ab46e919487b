package pgtest

import (
	"bytes"
	"encoding/binary"
)

// answer follows what a Postgres server sends, message by message, and finds where its answer to a request ends: with
// ReadyForQuery. It holds no more than the names of the commands that the answer reports as done.
type answer struct {
	header  [5]byte // type and length
	filled  int     // bytes of the header that are there
	body    int     // bytes of the message's body that are still to come
	tag     []byte  // the beginning of a CommandComplete's body
	begun   bool
	tags    []string // what the commands reported, like "INSERT 0 1"
	copying bool     // the server waits for the client before the answer ends
}

const (
	messageCommandComplete = 'C'
	messageReadyForQuery   = 'Z'
	messageCopyIn          = 'G'
	messageCopyBoth        = 'W'

	maxTag = 64
	// maxTags bounds what a batch of very many commands takes.
	maxTags = 64
)

// next takes bytes up to the end of the answer; done says that this end is there. The next call begins another answer.
func (a *answer) next(chunk []byte) (used int, done bool) {
	if !a.begun {
		a.begun, a.tags, a.copying = true, a.tags[:0], false
	}
	for used < len(chunk) {
		if a.filled < len(a.header) {
			n := copy(a.header[a.filled:], chunk[used:])
			a.filled, used = a.filled+n, used+n
			if a.filled < len(a.header) {
				return used, false
			}
			// The length counts itself.
			a.body, a.tag = max(0, int(binary.BigEndian.Uint32(a.header[1:]))-4), nil
		}
		n := min(a.body, len(chunk)-used)
		if a.header[0] == messageCommandComplete && len(a.tag) < maxTag {
			a.tag = append(a.tag, chunk[used:used+min(n, maxTag-len(a.tag))]...)
		}
		a.body, used = a.body-n, used+n
		if a.body == 0 && a.message() {
			return used, true
		}
	}
	return used, false
}

// message ends a message, and says whether it ends the answer.
func (a *answer) message() bool {
	a.filled = 0
	switch a.header[0] {
	case messageCommandComplete:
		if len(a.tags) < maxTags {
			a.tags = append(a.tags, string(bytes.TrimRight(a.tag, "\x00")))
		}
	case messageCopyIn, messageCopyBoth:
		a.copying = true
	case messageReadyForQuery:
		a.begun = false
		return true
	}
	return false
}
