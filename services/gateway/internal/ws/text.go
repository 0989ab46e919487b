package ws

import "unicode/utf8"

// utf8Prefix checks a text that comes in parts, each byte once: what cannot become UTF-8 any more is not waited for.
type utf8Prefix struct{ checked int }

// holds says whether a text that begins with b, of which more was appended since the last call, can be UTF-8.
func (p *utf8Prefix) holds(b []byte) bool {
	rest := b[p.checked:]
	whole := len(rest)
	for i := 1; i < utf8.UTFMax && i <= len(rest); i++ {
		if c := rest[len(rest)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(rest[len(rest)-i:]) {
				whole = len(rest) - i
			}
			break
		}
	}
	p.checked += whole
	return utf8.Valid(rest[:whole])
}
