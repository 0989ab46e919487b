package codes

import (
	"fmt"
	"strings"
)

// Markdown renders all codes as tables, the body of the reference page. The output is deterministic.
func Markdown() string {
	var b strings.Builder
	b.WriteString("## Error codes\n\nThe `code` of an `error` frame.\n\n")
	b.WriteString("| code | retryable | meaning |\n|---|---|---|\n")
	for _, c := range Errors() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", ErrorName(c), yesNo(Retryable(c)), ErrorMeaning(c))
	}
	b.WriteString("\n## Close codes\n\nThe code of the WebSocket close frame; the name is its reason text.\n")
	b.WriteString("4000 to 4499 ask the client to reconnect, 4500 to 4999 not to.\n\n")
	b.WriteString("| code | name | reconnect | meaning |\n|---|---|---|---|\n")
	for _, code := range standardCloses() {
		fmt.Fprintf(&b, "| %d | | %s | %s |\n", code, yesNo(Reconnect(code)), CloseMeaning(code))
	}
	for _, c := range Closes() {
		fmt.Fprintf(&b, "| %d | `%s` | %s | %s |\n", c, CloseName(c), yesNo(Reconnect(int(c))), CloseMeaning(int(c)))
	}
	b.WriteString("\n## Reset reasons\n\nThe `reason` of a `reset` frame.\n\n| reason | meaning |\n|---|---|\n")
	for _, r := range Resets() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", ResetName(r), ResetMeaning(r))
	}
	b.WriteString("\n## Eviction reasons\n\nThe `reason` of a `room_left` that nobody asked for.\n\n| reason | meaning |\n|---|---|\n")
	for _, r := range Evictions() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", EvictionName(r), EvictionMeaning(r))
	}
	return b.String()
}

func standardCloses() []int {
	return []int{
		CloseGoingAway, CloseProtocolError, CloseUnsupportedData, CloseInvalidPayload, ClosePolicyViolation, CloseTooBig,
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
