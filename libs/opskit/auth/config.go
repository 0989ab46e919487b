package auth

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

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

// minRefresh bounds how often an issuer is asked for its keys without a need.
const minRefresh = 10 * time.Second

// Config says how callers prove who they are. Mode has no default.
type Config struct {
	Mode       string        `help:"How callers prove who they are: jwt, or none to let everybody in." placeholder:"jwt|none"`
	HMACSecret opskit.Secret `name:"hmac-secret" help:"Secret of at least 32 bytes that tokens are signed with (HS256)." placeholder:"SECRET"`
	// HMACPrevious is accepted beside HMACSecret while tokens signed with it are still about.
	HMACPrevious opskit.Secret `name:"hmac-previous-secret" help:"The secret before that: tokens signed with it are taken as well, for the time of a change." placeholder:"SECRET"`
	JWKSURL      string        `name:"jwks-url" help:"Where the issuer of tokens publishes its public keys (RS256, PS256, ES256, ES384, EdDSA): https, or http to this machine. Issuer and audience must be set then." placeholder:"URL"`
	JWKSRefresh  time.Duration `name:"jwks-refresh" help:"How often the keys are fetched. A token with an unknown key id has them fetched at once, at most every 5 s." default:"5m"`
	JWKSMaxAge   time.Duration `name:"jwks-max-age" help:"For how long the last keys are used while none can be fetched; then tokens signed with them are answered as if the issuer were away." default:"24h"`
	JWKSInsecure bool          `name:"jwks-insecure" help:"Fetch keys over plain http from another machine: whoever is on the way can then make tokens."`
	Issuer       string        `help:"Value that a token's iss must have; empty: any or none." placeholder:"ISS"`
	Audience     string        `help:"Value that must be among a token's aud; empty: any or none." placeholder:"AUD"`
}

// Check returns every problem, joined, in terms of the variables PARLEY_AUTH_… and with what to do about it.
func (c Config) Check() error {
	var problems []error
	fail := func(setting, format string, args ...any) {
		problems = append(problems, fmt.Errorf("PARLEY_AUTH_"+setting+": "+format, args...))
	}
	switch c.Mode {
	case ModeNone:
		if !c.HMACSecret.Empty() || !c.HMACPrevious.Empty() || c.JWKSURL != "" || c.Issuer != "" || c.Audience != "" {
			fail("MODE", "%s asks for no tokens, and there is a secret, an address of keys, an issuer or an audience for them: leave those out, or set %s", ModeNone, ModeJWT)
		}
	case ModeJWT:
		c.checkKeys(fail)
	case "":
		fail("MODE", "is not set: set it to %s, or to %s to let everybody in", ModeJWT, ModeNone)
	default:
		fail("MODE", "%q is not known: set it to %s, or to %s to let everybody in", c.Mode, ModeJWT, ModeNone)
	}
	return errors.Join(problems...)
}

// checkKeys checks what signatures are checked with.
func (c Config) checkKeys(fail func(setting, format string, args ...any)) {
	if n := len(c.HMACSecret.Reveal()); n < MinSecretBytes && (n > 0 || c.JWKSURL == "") {
		fail("HMAC_SECRET", "has %d bytes, mode %s needs at least %d: give it, for example, the output of `openssl rand -base64 48`, or set PARLEY_AUTH_JWKS_URL", n, ModeJWT, MinSecretBytes)
	}
	if n := len(c.HMACPrevious.Reveal()); n > 0 && n < MinSecretBytes {
		fail("HMAC_PREVIOUS_SECRET", "has %d bytes, and tokens signed with fewer than %d are not taken: leave it out", n, MinSecretBytes)
	}
	if c.JWKSRefresh != 0 && c.JWKSRefresh < minRefresh {
		fail("JWKS_REFRESH", "%s would ask the issuer too often: give at least %s", c.JWKSRefresh, minRefresh)
	}
	if c.JWKSMaxAge != 0 && c.JWKSMaxAge < max(c.JWKSRefresh, minRefresh) {
		fail("JWKS_MAX_AGE", "%s is less than the time between two fetches: give more than PARLEY_AUTH_JWKS_REFRESH, best many times as much", c.JWKSMaxAge)
	}
	if c.JWKSURL == "" {
		return
	}
	if err := checkAddress(c.JWKSURL, c.JWKSInsecure); err != nil {
		fail("JWKS_URL", "%w", err)
	}
	// An issuer signs for many with the same keys: without these two a token for any of them would open this door as well.
	if c.Issuer == "" {
		fail("ISSUER", "is not set: say which iss tokens must have whose keys are fetched")
	}
	if c.Audience == "" {
		fail("AUDIENCE", "is not set: say which aud tokens must have, or those that the issuer made for others would be taken too")
	}
}

// checkAddress checks where keys come from. Its errors show nothing of an address that may have a password in it.
func checkAddress(address string, insecure bool) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return errors.New("is not an address such as https://issuer.example/.well-known/jwks.json")
	case u.User != nil:
		return errors.New("has a password in it, which keys that are public do not need: leave it out")
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return fmt.Errorf("has the scheme %q: use https", u.Scheme)
	case insecure || isLoopback(u.Hostname()):
		return nil
	default:
		return errors.New("is plain http to another machine, and whoever is on the way could make tokens: use https, or set PARLEY_AUTH_JWKS_INSECURE")
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
