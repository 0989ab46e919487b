package actorkit

import "strings"

// guardianName is GoAkt's parent of all actors that a program spawns. The door is spawned below it by its full path: GoAkt
// answers a remote lookup of a path below one of its own actors from the local tree, but that of any other name from the
// cluster registry, which may be stale, slow or gone while a node is dying.
const guardianName = "GoAktUserGuardian"

// doorPath returns what to look up on a node to find its door.
func doorPath(node string) string { return guardianName + "/" + doorName(node) }

// doorName returns the actor name of a node's door.
func doorName(node string) string { return "door-" + encodeName(node) }

// encodeName makes a string fit for GoAkt's actor names ([A-Za-z0-9._-]), reversibly: every other byte, and '_' itself,
// becomes _hh.
func encodeName(s string) string {
	const hexDigits = "0123456789abcdef"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('_')
		b.WriteByte(hexDigits[c>>4])
		b.WriteByte(hexDigits[c&15])
	}
	return b.String()
}
