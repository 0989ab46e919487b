package auth

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// ClockSkew is by how much the clocks of issuer and verifier may differ.
	ClockSkew = 30 * time.Second
	// MaxTokenBytes bounds what is looked at; no header of ours comes near it.
	MaxTokenBytes = 8 << 10
	// ScopeAdmin lets its owner use the admin API.
	ScopeAdmin = "parley:admin"
)

// Principal is who a valid token speaks for.
type Principal struct {
	// Subject is the token's sub; empty when it has none.
	Subject string
	Scopes  []string
	// ExpiresAt is the token's exp, without skew.
	ExpiresAt time.Time
}

// Has tells whether the token carries a scope.
func (p Principal) Has(scope string) bool {
	for _, s := range p.Scopes {
		if s == scope {
			return true
		}
	}
	return false
}

// Reason is why a token was refused: a constant word for metrics and logs, never part of a token.
type Reason string

// Reasons.
const (
	ReasonMissing     Reason = "missing"
	ReasonMalformed   Reason = "malformed"
	ReasonAlgorithm   Reason = "algorithm"
	ReasonSignature   Reason = "signature"
	ReasonExpired     Reason = "expired"
	ReasonNotYetValid Reason = "not_yet_valid"
	ReasonIssuer      Reason = "issuer"
	ReasonAudience    Reason = "audience"
	ReasonClaims      Reason = "claims"
	// ReasonScope is for callers of Verify that miss a scope.
	ReasonScope Reason = "scope"
)

// RefusedError says that a token proves nothing. The reason is for operators; whoever showed the token is told none.
type RefusedError struct{ Reason Reason }

func (e *RefusedError) Error() string { return "token refused: " + string(e.Reason) }

// Verifier checks tokens against one secret.
type Verifier struct {
	parser *jwt.Parser
	key    []byte
}

// NewVerifier returns a verifier for a configuration of ModeJWT. now is the clock.
func NewVerifier(cfg Config, now func() time.Time) (*Verifier, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if cfg.Mode != ModeJWT {
		return nil, fmt.Errorf("auth mode %q has no tokens to verify", cfg.Mode)
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithExpirationRequired(),
		jwt.WithLeeway(ClockSkew),
		jwt.WithTimeFunc(now),
		jwt.WithStrictDecoding(),
		jwt.WithIssuer(cfg.Issuer),
	}
	if cfg.Audience != "" {
		options = append(options, jwt.WithAudience(cfg.Audience))
	}
	return &Verifier{parser: jwt.NewParser(options...), key: []byte(cfg.HMACSecret.Reveal())}, nil
}

// Verify returns whom the token speaks for, or a *RefusedError. Signatures are compared in constant time.
func (v *Verifier) Verify(token string) (Principal, error) {
	if token == "" {
		return Principal{}, &RefusedError{ReasonMissing}
	}
	if len(token) > MaxTokenBytes {
		return Principal{}, &RefusedError{ReasonMalformed}
	}
	claims := jwt.MapClaims{}
	parsed, err := v.parser.ParseWithClaims(token, claims, v.keyFor)
	if err != nil {
		return Principal{}, &RefusedError{reasonOf(parsed, err)}
	}
	return principalOf(claims)
}

var errCritical = errors.New("critical header")

// keyFor refuses headers that say "do not accept me unless you understand this": there is nothing of that kind we do.
func (v *Verifier) keyFor(token *jwt.Token) (any, error) {
	if _, critical := token.Header["crit"]; critical {
		return nil, errCritical
	}
	return v.key, nil
}

// reasonOf never looks at the error's text: the library may quote the token in it.
func reasonOf(token *jwt.Token, err error) Reason {
	for _, known := range []struct {
		err    error
		reason Reason
	}{
		{errCritical, ReasonMalformed},
		{jwt.ErrTokenMalformed, ReasonMalformed},
		{jwt.ErrSignatureInvalid, ReasonSignature},
		{jwt.ErrTokenExpired, ReasonExpired},
		{jwt.ErrTokenNotValidYet, ReasonNotYetValid},
		{jwt.ErrTokenInvalidIssuer, ReasonIssuer},
		{jwt.ErrTokenInvalidAudience, ReasonAudience},
	} {
		if errors.Is(err, known.err) {
			return known.reason
		}
	}
	if token == nil || token.Method == nil || token.Method.Alg() != jwt.SigningMethodHS256.Alg() {
		return ReasonAlgorithm
	}
	return ReasonClaims
}

func principalOf(claims jwt.MapClaims) (Principal, error) {
	subject, err := claims.GetSubject()
	if err != nil {
		return Principal{}, &RefusedError{ReasonClaims}
	}
	exp, err := claims.GetExpirationTime()
	if err != nil || exp == nil {
		return Principal{}, &RefusedError{ReasonClaims}
	}
	p := Principal{Subject: subject, ExpiresAt: exp.Time}
	if value, has := claims["scope"]; has {
		scope, text := value.(string)
		if !text {
			return Principal{}, &RefusedError{ReasonClaims}
		}
		p.Scopes = strings.Fields(scope)
	}
	return p, nil
}

// Bearer takes the token out of an Authorization header; false when it is of another kind or has none.
func Bearer(header string) (string, bool) {
	scheme, token, ok := strings.Cut(header, " ")
	token = strings.Trim(token, " ")
	return token, ok && token != "" && strings.EqualFold(scheme, "Bearer")
}
