package opskit

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

const secretMask = "***"

// Secret is a configuration value that must not be shown. Every way of printing
// or encoding it gives "***" (nothing for the empty Secret); Reveal gives the
// value to the code that needs it. The zero value is empty.
type Secret struct {
	// A pointer, because fmt prints unexported fields of other people's structs
	// without asking their methods: it then prints an address.
	value *string
}

// NewSecret makes a Secret of value.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{value: &value}
}

// Reveal returns the value itself.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Empty reports whether there is no value.
func (s Secret) Empty() bool { return s.Reveal() == "" }

// Equal compares in a time that does not depend on where the values differ.
func (s Secret) Equal(other string) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other)) == 1
}

func (s Secret) masked() string {
	if s.Empty() {
		return ""
	}
	return secretMask
}

// String returns the mask.
func (s Secret) String() string { return s.masked() }

// GoString returns the mask.
func (s Secret) GoString() string { return s.masked() }

// Format writes the mask for every verb and flag.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.masked()) }

// LogValue is the mask.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.masked()) }

// MarshalText returns the mask; encoders of JSON, YAML and XML use it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.masked()), nil }

// MarshalJSON returns the mask as a JSON string.
func (s Secret) MarshalJSON() ([]byte, error) {
	b, err := json.Marshal(s.masked())
	if err != nil {
		return nil, fmt.Errorf("encode secret mask: %w", err)
	}
	return b, nil
}

// MarshalYAML returns the mask.
func (s Secret) MarshalYAML() (any, error) { return s.masked(), nil }

// UnmarshalText sets the value; it is how configuration fills a Secret in.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}
