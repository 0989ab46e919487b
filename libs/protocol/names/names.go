// Package names builds the names of room actors and journal streams. Nobody else formats one.
//
// GoAkt accepts actor names that match ^[a-zA-Z0-9][a-zA-Z0-9-_.]*$, are at most 255 long and do not start with "GoAkt".
// Room ids also have ':', so they are encoded; the encoding is injective and keeps ids without ':' readable.
package names

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/parley-rt/parley/libs/protocol/ids"
)

// Actors that exist once per node.
const (
	RoomHost = "roomhost"
	Hub      = "hub"
	Members  = "members"
)

// Room returns the name of a room's actor: "room-<id>", or "roomc-<mask>-<id with '_' for ':'>" for an id with a ':',
// where bit i of the hexadecimal mask is set when the i-th '_' stands for a ':'. A string that is no room id gives
// "roomh-<sha256>", so the result is always a legal name.
func Room(id string) string {
	switch {
	case ids.CheckRoom(id) != nil:
		return "roomh-" + hash(id)
	case !strings.Contains(id, ":"):
		return "room-" + id
	}
	var mask [ids.MaxRoomID / 8]byte
	under := 0
	encoded := []byte(id)
	for i, c := range encoded {
		switch c {
		case ':':
			encoded[i] = '_'
			mask[under/8] |= 1 << (under % 8)
			under++
		case '_':
			under++
		}
	}
	used := (under + 7) / 8
	return "roomc-" + hex.EncodeToString(mask[:used]) + "-" + string(encoded)
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
