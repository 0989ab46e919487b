package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Capability is something that a token lets its owner do in a room. Capabilities are bits and may be or'ed.
type Capability uint8

// Capabilities.
const (
	// Join: be in the room and receive what is posted there.
	Join Capability = 1 << iota
	// Publish messages and signals.
	Publish
	// History: read what was posted before, by the frame history or by a cursor.
	History
	// Presence: ask who is there.
	Presence
	// Moderate: kick, ban and mute members.
	Moderate

	// Ordinary is what a pattern gives that names no capabilities.
	Ordinary = Join | Publish | History | Presence
)

// capabilities are the names, in the order of the bits.
var capabilities = []string{"join", "publish", "history", "presence", "moderate"}

// String returns the names, separated by commas.
func (c Capability) String() string {
	var names []string
	for i, name := range capabilities {
		if c&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// parseCapability returns the capability of that name; 0: there is none.
func parseCapability(name string) Capability {
	i := slices.Index(capabilities, name)
	if i < 0 {
		return 0
	}
	return 1 << i
}

// Limits of grants.
const (
	MaxPatterns     = 100
	MaxPatternBytes = 128
	maxStars        = 8
)

// Grants says in which rooms what is allowed: patterns with the capabilities that they give. In a pattern "*" stands for any
// characters, also none; everything else stands for itself. A room gets the capabilities of all patterns that match it. The zero
// value allows nothing. It is never changed and safe for concurrent use.
type Grants struct {
	exact    map[string]Capability
	patterns []pattern
}

// pattern has stars: parts are what is between them.
type pattern struct {
	parts []string
	may   Capability
}

// May tells whether all those capabilities are given in a room.
func (g Grants) May(c Capability, room string) bool { return g.In(room)&c == c }

// In returns the capabilities in a room.
func (g Grants) In(room string) Capability {
	may := g.exact[room]
	for _, p := range g.patterns {
		if p.may&^may != 0 && p.matches(room) {
			may |= p.may
		}
	}
	return may
}

// Any returns the capabilities that are given in any room.
func (g Grants) Any() Capability {
	var may Capability
	for _, c := range g.exact {
		may |= c
	}
	for _, p := range g.patterns {
		may |= p.may
	}
	return may
}

// Empty says that nothing is allowed anywhere.
func (g Grants) Empty() bool { return g.Any() == 0 }

// matches is linear in the pattern times the room id in the worst case: every part is looked for behind the one before.
func (p pattern) matches(room string) bool {
	first, last := p.parts[0], p.parts[len(p.parts)-1]
	if len(room) < len(first)+len(last) || !strings.HasPrefix(room, first) || !strings.HasSuffix(room, last) {
		return false
	}
	room = room[len(first) : len(room)-len(last)]
	for _, part := range p.parts[1 : len(p.parts)-1] {
		i := strings.Index(room, part)
		if i < 0 {
			return false
		}
		room = room[i+len(part):]
	}
	return true
}

// add gives capabilities by a pattern.
func (g *Grants) add(text string, may Capability) error {
	if len(g.exact)+len(g.patterns) >= MaxPatterns {
		return fmt.Errorf("more than %d patterns", MaxPatterns)
	}
	if err := checkPattern(text); err != nil {
		return err
	}
	if !strings.Contains(text, "*") {
		if g.exact == nil {
			g.exact = map[string]Capability{}
		}
		g.exact[text] |= may
		return nil
	}
	g.patterns = append(g.patterns, pattern{strings.Split(text, "*"), may})
	return nil
}

func checkPattern(text string) error {
	if text == "" || len(text) > MaxPatternBytes || strings.Count(text, "*") > maxStars {
		return fmt.Errorf("a pattern has 1 to %d characters and at most %d stars", MaxPatternBytes, maxStars)
	}
	for _, c := range []byte(text) {
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte("*._:-", c) >= 0 {
			continue
		}
		return errors.New("a pattern has letters, digits and . _ : - * only")
	}
	return nil
}

var errRooms = errors.New("claim rooms is neither an object of patterns with capabilities nor a list of patterns")

// grantsOf reads the claim rooms: {"pattern": ["join", …], …}, or ["pattern", …], which gives all but moderate. Capabilities that
// are not known give nothing, so that tokens may name those of later versions.
func grantsOf(claim any) (Grants, error) {
	var g Grants
	switch rooms := claim.(type) {
	case []any:
		for _, r := range rooms {
			text, ok := r.(string)
			if !ok {
				return Grants{}, errRooms
			}
			if err := g.add(text, Ordinary); err != nil {
				return Grants{}, err
			}
		}
	case map[string]any:
		for text, list := range rooms {
			names, ok := list.([]any)
			if !ok {
				return Grants{}, errRooms
			}
			var may Capability
			for _, n := range names {
				name, ok := n.(string)
				if !ok {
					return Grants{}, errRooms
				}
				may |= parseCapability(name)
			}
			if err := g.add(text, may); err != nil {
				return Grants{}, err
			}
		}
	default:
		return Grants{}, errRooms
	}
	return g, nil
}

// Grant is one pattern with its capabilities, as people write it: "chat-*=join,publish"; "chat-*" alone gives Ordinary.
type Grant struct {
	Pattern string
	May     Capability
}

// ParseGrant reads one. Unlike in a token an unknown capability is an error: it is a slip of the pen.
func ParseGrant(text string) (Grant, error) {
	pattern, names, named := strings.Cut(text, "=")
	g := Grant{Pattern: pattern, May: Ordinary}
	if err := checkPattern(pattern); err != nil {
		return Grant{}, fmt.Errorf("%q: %w", text, err)
	}
	if named {
		g.May = 0
		for name := range strings.SplitSeq(names, ",") {
			c := parseCapability(strings.TrimSpace(name))
			if c == 0 {
				return Grant{}, fmt.Errorf("%q: capability %q is none of %s", text, name, strings.Join(capabilities, ", "))
			}
			g.May |= c
		}
	}
	return g, nil
}

// NewGrants compiles a list.
func NewGrants(list []Grant) (Grants, error) {
	var g Grants
	for _, one := range list {
		if err := g.add(one.Pattern, one.May); err != nil {
			return Grants{}, fmt.Errorf("%q: %w", one.Pattern, err)
		}
	}
	return g, nil
}
