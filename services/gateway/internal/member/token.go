package member

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"

	"github.com/parley-rt/parley/libs/persistence"
)

// token is what a client resumes its session with: the session's id, to find the row, and 32 random bytes, of which only
// a hash is stored. Clients must not look inside.
type token struct {
	id     persistence.SessionID
	secret [32]byte
}

const tokenBytes = 16 + 32

func newSessionID() persistence.SessionID {
	var id persistence.SessionID
	_, _ = rand.Read(id[:])
	return id
}

func newToken(id persistence.SessionID) token {
	t := token{id: id}
	_, _ = rand.Read(t.secret[:])
	return t
}

func (t token) String() string {
	return base64.RawURLEncoding.EncodeToString(append(t.id[:], t.secret[:]...))
}

// hash is what is stored. member is who has proved to be the session's member, empty for a guest: who shows somebody else's token
// shows one that does not exist, and changes nothing.
func (t token) hash(member string) persistence.TokenHash {
	b := append(t.id[:], t.secret[:]...)
	if member != "" {
		b = append(b, member...)
	}
	return sha256.Sum256(b)
}

func parseToken(s string) (t token, ok bool) {
	if len(s) != base64.RawURLEncoding.EncodedLen(tokenBytes) {
		return t, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != tokenBytes { // line breaks are skipped without an error
		return t, false
	}
	copy(t.id[:], b)
	copy(t.secret[:], b[len(t.id):])
	return t, true
}

// sessionName is how a session is called towards rooms.
func sessionName(id persistence.SessionID) string { return hex.EncodeToString(id[:]) }
