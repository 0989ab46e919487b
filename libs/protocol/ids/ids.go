// Package ids checks and makes the identifiers of the protocol: room ids, message ids, node names, dedupe keys.
//
// Everything here is a pure function, safe for concurrent use.
package ids

import (
	"crypto/sha1" //nolint:gosec // UUIDv5 is defined with SHA-1; see DedupeKey for what rests on it
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Limits of identifiers, in bytes.
const (
	MaxRoomID    = 128
	MaxMessageID = 128
	MaxNode      = 64
	MaxMemberID  = 128
)

// Errors of the checks. Each is returned as it is or wrapped with the offending position.
var (
	ErrRoomID    = errors.New("room id must match [A-Za-z0-9._:-]{1,128}")
	ErrMessageID = errors.New("message id must be 1 to 128 bytes of UTF-8")
	ErrMemberID  = errors.New("member id must be 1 to 128 bytes of printable UTF-8 and not begin with \"schedule:\"")
	ErrNode      = errors.New("node name must match [A-Za-z0-9._-]{1,64}")
)

// CheckRoom returns nil or an error wrapping ErrRoomID. The error never quotes the id: it may be huge.
func CheckRoom(id string) error {
	if len(id) == 0 || len(id) > MaxRoomID {
		return fmt.Errorf("%w: it has %d bytes", ErrRoomID, len(id))
	}
	for i := range len(id) {
		if c := id[i]; !alphanumeric(c) && c != '.' && c != '_' && c != ':' && c != '-' {
			return fmt.Errorf("%w: byte %d is %q", ErrRoomID, i, c)
		}
	}
	return nil
}

// CheckMessageID returns nil or an error wrapping ErrMessageID. Message ids are compared bytewise, so nothing is
// normalised and any character is allowed.
func CheckMessageID(id string) error {
	if len(id) == 0 || len(id) > MaxMessageID {
		return fmt.Errorf("%w: it has %d bytes", ErrMessageID, len(id))
	}
	if !utf8.ValidString(id) {
		return fmt.Errorf("%w: it is not UTF-8", ErrMessageID)
	}
	return nil
}

// MaxScheduleID is in bytes: with ScheduleMember's prefix it is a member's id.
const MaxScheduleID = 64

// ErrScheduleID is what CheckSchedule returns or wraps.
var ErrScheduleID = errors.New("schedule id must match [A-Za-z0-9._-]{1,64}")

// CheckSchedule returns nil or an error wrapping ErrScheduleID. The error never quotes the id.
func CheckSchedule(id string) error {
	if len(id) == 0 || len(id) > MaxScheduleID {
		return fmt.Errorf("%w: it has %d bytes", ErrScheduleID, len(id))
	}
	for i := range len(id) {
		if c := id[i]; !alphanumeric(c) && c != '.' && c != '_' && c != '-' {
			return fmt.Errorf("%w: byte %d is %q", ErrScheduleID, i, c)
		}
	}
	return nil
}

// ScheduleMember is the member under whose name a schedule publishes unless it has a sender: no client can have it.
func ScheduleMember(scheduleID string) string { return reservedMembers + scheduleID }

// reservedMembers is how the names begin under which the platform itself publishes.
const reservedMembers = "schedule:"

// CheckMember returns nil or an error wrapping ErrMemberID. The error never quotes the id. Ids are compared bytewise, and shown
// to people and in logs, so that nothing invisible may be in them.
func CheckMember(id string) error {
	if len(id) == 0 || len(id) > MaxMemberID {
		return fmt.Errorf("%w: it has %d bytes", ErrMemberID, len(id))
	}
	if strings.HasPrefix(id, reservedMembers) {
		return ErrMemberID
	}
	for i, r := range id {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return fmt.Errorf("%w: byte %d is not", ErrMemberID, i)
		}
	}
	return nil
}

// CheckNode returns nil or an error wrapping ErrNode.
func CheckNode(name string) error {
	if len(name) == 0 || len(name) > MaxNode {
		return fmt.Errorf("%w: it has %d bytes", ErrNode, len(name))
	}
	for i := range len(name) {
		if c := name[i]; !alphanumeric(c) && c != '.' && c != '_' && c != '-' {
			return fmt.Errorf("%w: byte %d is %q", ErrNode, i, c)
		}
	}
	return nil
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// NewMessageID returns a fresh UUIDv7 in its canonical form: what is filled in for a message without an id. Ids made by
// one process sort in the order they were made.
func NewMessageID() string {
	return uuid.Must(uuid.NewV7()).String()
}

// dedupeNamespace is the UUIDv5 namespace of dedupe keys. It is part of what is stored: never change it.
var dedupeNamespace = [16]byte{
	0x9c, 0x1d, 0x4e, 0x5a, 0x0f, 0x62, 0x5b, 0x0d, 0xa7, 0x33, 0x6e, 0x21, 0xc4, 0x58, 0x90, 0x1f,
}

// DedupeKey identifies a member's message within a room: the UUIDv5 of (memberID, messageID). Neither is checked; any
// bytes are allowed in both. The length in front of memberID keeps ("ab", "c") and ("a", "bc") apart.
//
// Collisions need about 2^61 hashes and two messages made for the purpose, whose second one is then taken for a repeat of
// the first: who can do that could as well not have sent it.
func DedupeKey(memberID, messageID string) [16]byte {
	return key(dedupeNamespace, memberID, messageID)
}

// operationNamespace is the UUIDv5 namespace of operation keys. It is part of what is stored: never change it.
var operationNamespace = [16]byte{
	0x5f, 0x0a, 0x84, 0xd3, 0x7b, 0x16, 0x5c, 0x92, 0x9e, 0x41, 0xd8, 0x2c, 0x60, 0xbb, 0x37, 0xe5,
}

// OperationKey identifies what an administrator asked of a room, as DedupeKey does a member's message; the two never meet.
func OperationKey(actor, operationID string) [16]byte {
	return key(operationNamespace, actor, operationID)
}

// scheduleNamespace is the UUIDv5 namespace of schedules and their firings. It is part of what is stored: never change it.
var scheduleNamespace = [16]byte{
	0x2e, 0x77, 0x1b, 0xc8, 0x93, 0x4d, 0x5e, 0x06, 0xb1, 0xfa, 0x35, 0x8e, 0x0c, 0x62, 0xd9, 0x40,
}

// ScheduleKey identifies a schedule in fewer bytes than its id.
func ScheduleKey(scheduleID string) [16]byte { return key(scheduleNamespace, scheduleID, "") }

// FiringKey identifies one firing of a schedule, as DedupeKey does a member's message; the two never meet.
func FiringKey(scheduleID string, number uint64) [16]byte {
	return key(scheduleNamespace, scheduleID, strconv.FormatUint(number, 10))
}

func key(namespace [16]byte, who, what string) [16]byte {
	var stack [len(namespace) + binary.MaxVarintLen64 + 512]byte
	buf := append(stack[:0], namespace[:]...)
	buf = binary.AppendUvarint(buf, uint64(len(who)))
	buf = append(buf, who...)
	buf = append(buf, what...)
	sum := sha1.Sum(buf) //nolint:gosec // see the import
	key := [16]byte(sum[:16])
	key[6] = key[6]&0x0f | 0x50 // version 5
	key[8] = key[8]&0x3f | 0x80 // variant of RFC 9562
	return key
}
