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

// Check returns every problem, joined, in terms of the variables PARLEY_AUTH_… and with what to do about it.
func (c Config) Check() error {
	var problems []error
	fail := func(setting, format string, args ...any) {
		problems = append(problems, fmt.Errorf("PARLEY_AUTH_"+setting+": "+format, args...))
	}
	if c.JWKSURL != "" {
		fail("JWKS_URL", "this build does not fetch keys: sign tokens with PARLEY_AUTH_HMAC_SECRET (HS256)")
	}
	switch c.Mode {
	case ModeNone:
		if !c.HMACSecret.Empty() || c.Issuer != "" || c.Audience != "" {
			fail("MODE", "%s asks for no tokens, and there is a secret, an issuer or an audience for them: leave those out, or set %s", ModeNone, ModeJWT)
		}
	case ModeJWT:
		if n := len(c.HMACSecret.Reveal()); n < MinSecretBytes {
			fail("HMAC_SECRET", "has %d bytes, mode %s needs at least %d: give it, for example, the output of `openssl rand -base64 48`", n, ModeJWT, MinSecretBytes)
		}
	case "":
		fail("MODE", "is not set: set it to %s, or to %s to let everybody in", ModeJWT, ModeNone)
	default:
		fail("MODE", "%q is not known: set it to %s, or to %s to let everybody in", c.Mode, ModeJWT, ModeNone)
	}
	return errors.Join(problems...)
}
