package names

import (
	"strconv"
	"strings"

	"github.com/parley-rt/parley/libs/protocol/ids"
)

// Kinds of journal streams: the part of a key before the first '/'.
const (
	StreamRoom      = "room"
	StreamMembers   = "members"
	StreamSchedules = "schedules"
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

// ScheduleShards is how many streams the schedule book has. It is part of what is stored: never change it.
const ScheduleShards = 64

// SchedulesStream returns the key of one of the schedule book's streams, 0 to ScheduleShards-1.
func SchedulesStream(shard int) string { return StreamSchedules + "/" + strconv.Itoa(shard) }

// ScheduleShard returns the number of the stream that a schedule is in.
func ScheduleShard(scheduleID string) int {
	key := ids.ScheduleKey(scheduleID)
	return int(key[15]) % ScheduleShards
}
