package codes

import (
	"strings"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

const resetPrefix = "RESET_REASON_"

// Resets lists every reset reason in the enum's order, without UNSPECIFIED.
func Resets() []clientv1.ResetReason {
	return values[clientv1.ResetReason](clientv1.ResetReason(0).Descriptor())
}

// ResetName returns the name that Reset.reason carries: "rewound". It is empty for UNSPECIFIED and unknown values.
func ResetName(r clientv1.ResetReason) string {
	return strings.ToLower(bareName(r.Descriptor(), r.Number(), resetPrefix))
}

// ParseReset is the inverse of ResetName.
func ParseReset(name string) (clientv1.ResetReason, bool) {
	n, ok := clientv1.ResetReason_value[resetPrefix+strings.ToUpper(name)]
	if !ok || n == 0 || name != strings.ToLower(name) {
		return 0, false
	}
	return clientv1.ResetReason(n), true
}

// ResetMeaning is one sentence for documentation and tools.
func ResetMeaning(r clientv1.ResetReason) string {
	switch r {
	case clientv1.ResetReason_RESET_REASON_REWOUND:
		return "The cursor belongs to a history that was lost; the cursor is now the head. Publish again, with the same message ids, what was acknowledged in the last minute."
	case clientv1.ResetReason_RESET_REASON_TRIMMED:
		return "Messages after the cursor are past retention, or from before the member joined a room whose history it may not read; the cursor is now the last of them."
	case clientv1.ResetReason_RESET_REASON_REPLAY_LIMIT:
		return "More messages were missed than are replayed; the cursor is now the head and history fills in."
	default:
		return ""
	}
}
