package auth

import (
	"errors"
	"fmt"

	"github.com/parley-rt/parley/libs/opskit"
)

// Modes of authentication.
const (
	// ModeJWT wants a signed token.
	ModeJWT = "jwt"
	// ModeNone lets everybody in. It is never a default: it has to be named.
	ModeNone = "none"
)

// MinSecretBytes is the length of an HMAC-SHA256 key that is worth its name (RFC 7518, section 3.2). A shorter secret could
// be found by trying, offline, with any one token at hand.
const MinSecretBytes = 32

// Config says how callers prove who they are. Mode has no default.
type Config struct {
	Mode       string        `help:"How callers prove who they are: jwt, or none to let everybody in." placeholder:"jwt|none"`
	HMACSecret opskit.Secret `name:"hmac-secret" help:"Secret of at least 32 bytes that tokens are signed with (HS256)." placeholder:"SECRET"`
	Issuer     string        `help:"Value that a token's iss must have; empty: any or none." placeholder:"ISS"`
	Audience   string        `help:"Value that must be among a token's aud; empty: any or none." placeholder:"AUD"`
	// JWKSURL is known so that it is refused with a reason.
	JWKSURL string `name:"jwks-url" hidden:"" help:"Not supported by this build."`
}

// Check returns every problem, joined, each beginning with the name of the setting without its prefix.
func (c Config) Check() error {
	var problems []error
	fail := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if c.JWKSURL != "" {
		fail("auth jwks url: this build does not fetch keys: sign tokens with the auth hmac secret (HS256)")
	}
	switch c.Mode {
	case ModeNone:
		if !c.HMACSecret.Empty() || c.Issuer != "" || c.Audience != "" {
			fail("auth mode is %q, and there is a secret, an issuer or an audience: leave those out, or set the mode to %q", ModeNone, ModeJWT)
		}
	case ModeJWT:
		switch n := len(c.HMACSecret.Reveal()); {
		case n == 0:
			fail("auth hmac secret is not set: auth mode %q needs it, for example the output of `openssl rand -base64 48`", ModeJWT)
		case n < MinSecretBytes:
			fail("auth hmac secret has %d bytes, it needs at least %d, for example the output of `openssl rand -base64 48`", n, MinSecretBytes)
		}
	case "":
		fail("auth mode is not set: set it to %q, or to %q to let everybody in", ModeJWT, ModeNone)
	default:
		fail("auth mode %q is not known: use %q or %q", c.Mode, ModeJWT, ModeNone)
	}
	return errors.Join(problems...)
}
