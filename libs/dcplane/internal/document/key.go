package document

import (
	"fmt"
	"strings"

	"github.com/parley-rt/parley/libs/dcplane"
)

// KeyPrefix is the first part of every node's key.
const KeyPrefix = "nodes/"

const hexDigits = "0123456789ABCDEF"

// EncodeKey writes a key in the alphabet of JetStream keys, the narrowest there is. Dots are encoded too: they separate
// subject tokens, and an empty token is not a valid subject.
func EncodeKey(k dcplane.Key) string {
	return KeyPrefix + encodePart(k.DC) + "/" + encodePart(k.Service) + "/" + encodePart(k.Name)
}

func encodePart(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for i := range len(s) {
		if c := s[i]; plain(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'=', hexDigits[c>>4], hexDigits[c&15]})
		}
	}
	return b.String()
}

// plain bytes stand for themselves.
func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}

// DecodeKey undoes EncodeKey and accepts nothing else, so every node has exactly one key.
func DecodeKey(key string) (dcplane.Key, error) {
	rest, ok := strings.CutPrefix(key, KeyPrefix)
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 {
		return dcplane.Key{}, fmt.Errorf("key %q is not %s<dc>/<service>/<node>", key, KeyPrefix)
	}
	for i, part := range parts {
		decoded, ok := decodePart(part)
		if !ok {
			return dcplane.Key{}, fmt.Errorf("key %q: part %q is not properly encoded", key, part)
		}
		parts[i] = decoded
	}
	return dcplane.Key{DC: parts[0], Service: parts[1], Name: parts[2]}, nil
}

func decodePart(s string) (string, bool) {
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case plain(c):
			b.WriteByte(c)
		case c == '=' && i+2 < len(s):
			high, low := strings.IndexByte(hexDigits, s[i+1]), strings.IndexByte(hexDigits, s[i+2])
			if high < 0 || low < 0 || plain(byte(high<<4|low)) {
				return "", false
			}
			b.WriteByte(byte(high<<4 | low))
			i += 2
		default:
			return "", false
		}
	}
	return b.String(), s != ""
}
