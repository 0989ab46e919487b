package persistencetest

import (
	"encoding/binary"
	"sync"
)

// Numbers of the protocol of Postgres.
const (
	requestCancel = 80877102
	requestSSL    = 80877103
	messageKey    = 'K' // BackendKeyData: process and secret
	messageReady  = 'Z' // ReadyForQuery
	messageEnd    = 'X' // Terminate
)

// wire follows the conversation of one connection just far enough to know whether an answer is due, and the key with which
// the server lets it be cancelled.
type wire struct {
	mu  sync.Mutex
	due bool
	// secret is the body of BackendKeyData.
	secret []byte
	// startup: the answer to a request for TLS is a single byte, and nothing of it is a message.
	startup bool
	// header collects the type and length of the message that is being received, body what is kept of it, and left is how
	// many bytes of it are still to come.
	header []byte
	body   []byte
	left   int
}

// sent notes what the client wrote.
func (w *wire) sent(p []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case len(p) == 8 && binary.BigEndian.Uint32(p[4:]) == requestSSL:
		w.startup = true
	case len(p) > 0 && p[0] != messageEnd:
		w.due = true
	}
}

// received notes what the server wrote.
func (w *wire) received(p []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(p) > 0 {
		switch {
		case w.startup:
			w.startup = false
			p = p[1:]
		case w.left > 0:
			n := min(w.left, len(p))
			if w.header[0] == messageKey {
				w.body = append(w.body, p[:n]...)
			}
			w.left -= n
			p = p[n:]
			w.finish()
		default:
			n := min(5-len(w.header), len(p))
			w.header = append(w.header, p[:n]...)
			p = p[n:]
			if len(w.header) == 5 {
				w.left = int(binary.BigEndian.Uint32(w.header[1:])) - 4
				w.finish()
			}
		}
	}
}

// finish ends a message that is complete.
func (w *wire) finish() {
	if w.left > 0 {
		return
	}
	switch w.header[0] {
	case messageReady:
		w.due = false
	case messageKey:
		w.secret = w.body
	}
	w.header, w.body = w.header[:0], nil
}

// unanswered: the client wrote something after the server was last ready.
func (w *wire) unanswered() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.due
}

// key is nil before the server has sent it.
func (w *wire) key() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.secret
}

// cancelRequest asks for the cancellation of what the session with this key is doing.
func cancelRequest(key []byte) []byte {
	request := binary.BigEndian.AppendUint32(nil, uint32(8+len(key)))
	request = binary.BigEndian.AppendUint32(request, requestCancel)
	return append(request, key...)
}
