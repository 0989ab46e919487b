package names

import "strings"

// Kinds of journal streams: the part of a key before the first '/'.
const (
	StreamRoom    = "room"
	StreamMembers = "members"
)

// RoomStream returns the key of the stream of a room's events.
func RoomStream(roomID string) string { return StreamRoom + "/" + roomID }

// MembersStream returns the key of the stream of a room's memberships.
func MembersStream(roomID string) string { return StreamMembers + "/" + roomID }

// ParseStream splits a key into its kind and the id behind the first '/'; room ids have no '/'.
func ParseStream(key string) (kind, id string, ok bool) {
	kind, id, ok = strings.Cut(key, "/")
	return kind, id, ok && kind != "" && id != ""
}
