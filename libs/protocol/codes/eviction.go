package codes

import (
	"strings"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

const evictionPrefix = "EVICTION_REASON_"

// Evictions lists every reason for which a member is taken out of a room, in the enum's order, without UNSPECIFIED.
func Evictions() []clientv1.EvictionReason {
	return values[clientv1.EvictionReason](clientv1.EvictionReason(0).Descriptor())
}

// EvictionName returns the name that RoomLeft.reason carries: "kicked". It is empty for UNSPECIFIED and unknown values.
func EvictionName(r clientv1.EvictionReason) string {
	return strings.ToLower(bareName(r.Descriptor(), r.Number(), evictionPrefix))
}

// ParseEviction is the inverse of EvictionName.
func ParseEviction(name string) (clientv1.EvictionReason, bool) {
	n, ok := clientv1.EvictionReason_value[evictionPrefix+strings.ToUpper(name)]
	if !ok || n == 0 || name != strings.ToLower(name) {
		return 0, false
	}
	return clientv1.EvictionReason(n), true
}

// EvictionOf returns the reason that an error code stands for when a room takes a member out.
func EvictionOf(c clientv1.ErrorCode) clientv1.EvictionReason {
	switch c {
	case clientv1.ErrorCode_ERROR_CODE_BANNED:
		return clientv1.EvictionReason_EVICTION_REASON_BANNED
	case clientv1.ErrorCode_ERROR_CODE_FORBIDDEN:
		return clientv1.EvictionReason_EVICTION_REASON_FORBIDDEN
	default:
		return clientv1.EvictionReason_EVICTION_REASON_KICKED
	}
}

// EvictionMeaning is one sentence for documentation and tools.
func EvictionMeaning(r clientv1.EvictionReason) string {
	switch r {
	case clientv1.EvictionReason_EVICTION_REASON_KICKED:
		return "The member was taken out, or is in the room no more for another reason, and may join again."
	case clientv1.EvictionReason_EVICTION_REASON_BANNED:
		return "The member may join again after `retry_after_ms`; without it, not at all."
	case clientv1.EvictionReason_EVICTION_REASON_FORBIDDEN:
		return "The room's settings, or the member's new token, do not let it in any more."
	default:
		return ""
	}
}
