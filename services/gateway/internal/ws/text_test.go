package ws

import (
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestUTF8Prefix(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		parts []string
		holds bool // after the last; after those before in any case
	}{
		{[]string{""}, true},
		{[]string{"a", "", "b"}, true},
		{[]string{"\xc3"}, true},
		{[]string{"\xc3", "\xbc"}, true},
		{[]string{"\xc3", "a"}, false},
		{[]string{"\xf0\x9f", "\xa6", "\x80"}, true},
		{[]string{"\xf0\x9f", "\xa6", "a"}, false},
		{[]string{"\x80"}, false},
		{[]string{"a\x80"}, false},
		{[]string{"\xed\xa0"}, false}, // a surrogate, already
		{[]string{"\xf4\x90"}, false},
		{[]string{"\xe0"}, true},
		{[]string{"\xe0", "\x9f"}, false}, // too long a form
		{[]string{"\xff"}, false},
	} {
		var (
			p    utf8Prefix
			text []byte
		)
		for i, part := range c.parts {
			text = append(text, part...)
			require.Equal(t, c.holds || i < len(c.parts)-1, p.holds(text), "%q at %d", c.parts, i)
		}
	}
}

// However a text is cut: it holds at the end of every part as long as it is UTF-8 or ends within a character, and what is not UTF-8
// is found out or ends within a character.
func FuzzUTF8Prefix(f *testing.F) {
	f.Add([]byte("gr\u00fc\u00dfe"), 3, 5)
	f.Add([]byte("\xed\xa0\x80"), 1, 2)
	f.Add([]byte("\U0001f980"), 1, 3)
	f.Fuzz(func(t *testing.T, text []byte, a, b int) {
		n := len(text)
		a, b = min(max(0, a), n), min(max(0, b), n)
		a, b = min(a, b), max(a, b)
		var p utf8Prefix
		held := p.holds(text[:a]) && p.holds(text[:b]) && p.holds(text)
		var once utf8Prefix
		require.Equal(t, once.holds(text), held, "%q cut at %d and %d", text, a, b)
		if utf8.Valid(text) {
			require.True(t, held)
		} else if held {
			require.NotEqual(t, n, p.checked, "%q", text)
		}
	})
}
