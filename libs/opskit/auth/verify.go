package auth

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/parley-rt/parley/libs/opskit"
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
	// Rooms is what the claim rooms gives. NamesRooms: the token has that claim.
	Rooms      Grants
	NamesRooms bool
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
	ReasonKey         Reason = "key"
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

// ErrKeys says that whether a token is good cannot be told now: the issuer's keys cannot be had. It may be shown again later.
var ErrKeys = errors.New("keys to check tokens with cannot be fetched now")

// Deps are what a Verifier is given. Zero values: the system's clock, no logs, no metrics, the system's authorities.
type Deps struct {
	Now           func() time.Time
	Logger        *slog.Logger
	MeterProvider metric.MeterProvider
	// RootCAs sign the certificate of where keys are fetched from.
	RootCAs *x509.CertPool
}

// Verifier checks tokens.
type Verifier struct {
	parser     *jwt.Parser
	algorithms []string
	secrets    []jwt.VerificationKey
	issuer     *issuer // nil: no keys are fetched
}

// NewVerifier returns a verifier for a configuration of ModeJWT. Without secrets it knows no keys until Run has fetched some.
func NewVerifier(cfg Config, deps Deps) (*Verifier, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if cfg.Mode != ModeJWT {
		return nil, fmt.Errorf("auth mode %q has no tokens to verify", cfg.Mode)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.MeterProvider == nil {
		deps.MeterProvider = noop.NewMeterProvider()
	}
	v := new(Verifier)
	for _, secret := range []opskit.Secret{cfg.HMACSecret, cfg.HMACPrevious} {
		if !secret.Empty() {
			v.algorithms = []string{jwt.SigningMethodHS256.Alg()}
			v.secrets = append(v.secrets, []byte(secret.Reveal()))
		}
	}
	if cfg.JWKSURL != "" {
		v.algorithms = append(v.algorithms, "RS256", "PS256", "ES256", "ES384", "EdDSA")
		v.issuer = newIssuer(cfg, deps)
		var err error
		if v.issuer.metrics, err = newMetrics(deps.MeterProvider, v.issuer); err != nil {
			return nil, err
		}
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(v.algorithms),
		jwt.WithExpirationRequired(),
		jwt.WithLeeway(ClockSkew),
		jwt.WithTimeFunc(deps.Now),
		jwt.WithStrictDecoding(),
		jwt.WithIssuer(cfg.Issuer),
	}
	if cfg.Audience != "" {
		options = append(options, jwt.WithAudience(cfg.Audience))
	}
	v.parser = jwt.NewParser(options...)
	return v, nil
}

// Run fetches keys until ctx ends; it returns at once when there are none to fetch. To be called once.
func (v *Verifier) Run(ctx context.Context) {
	if v.issuer != nil {
		v.issuer.run(ctx)
	}
}

// Ready returns nil, or ErrKeys while there is nothing that a token could be checked with: not yet, or because the issuer was away for too
// long.
func (v *Verifier) Ready(context.Context) error {
	if v.issuer == nil || len(v.secrets) > 0 {
		return nil
	}
	if keys, _, _ := v.issuer.state(); keys == 0 {
		return ErrKeys
	}
	return nil
}

// Verify returns whom the token speaks for, or a *RefusedError, or ErrKeys. It waits only for keys, and as long as ctx lasts.
// Signatures of secrets are compared in constant time.
func (v *Verifier) Verify(ctx context.Context, token string) (Principal, error) {
	if token == "" {
		return Principal{}, &RefusedError{ReasonMissing}
	}
	if len(token) > MaxTokenBytes {
		return Principal{}, &RefusedError{ReasonMalformed}
	}
	claims := jwt.MapClaims{}
	parsed, err := v.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) { return v.keyFor(ctx, t) })
	switch {
	case errors.Is(err, ErrKeys):
		return Principal{}, ErrKeys
	case err != nil:
		return Principal{}, &RefusedError{v.reasonOf(parsed, err)}
	}
	return principalOf(claims)
}

var (
	errCritical = errors.New("critical header")
	errNoKey    = errors.New("no such key")
)

// keyFor chooses what the signature is checked with. Headers that say "do not accept me unless you understand this" are refused:
// there is nothing of that kind we do.
func (v *Verifier) keyFor(ctx context.Context, token *jwt.Token) (any, error) {
	if _, critical := token.Header["crit"]; critical {
		return nil, errCritical
	}
	algorithm := token.Method.Alg()
	if algorithm == jwt.SigningMethodHS256.Alg() { // only if there is a secret: see WithValidMethods
		return jwt.VerificationKeySet{Keys: v.secrets}, nil
	}
	id, text := token.Header["kid"].(string)
	if _, has := token.Header["kid"]; has && !text || len(id) > maxKeyID {
		return nil, errNoKey
	}
	key, err := v.issuer.find(ctx, id, algorithm)
	if err == nil && key == nil {
		err = errNoKey
	}
	return key, err
}

// reasonOf never looks at the error's text: the library may quote the token in it.
func (v *Verifier) reasonOf(token *jwt.Token, err error) Reason {
	switch {
	case errors.Is(err, errCritical) || errors.Is(err, jwt.ErrTokenMalformed):
		return ReasonMalformed
	case token == nil || token.Method == nil || !slices.Contains(v.algorithms, token.Method.Alg()):
		return ReasonAlgorithm
	}
	for _, known := range []struct {
		err    error
		reason Reason
	}{
		{errNoKey, ReasonKey},
		{jwt.ErrTokenSignatureInvalid, ReasonSignature},
		{jwt.ErrTokenExpired, ReasonExpired},
		{jwt.ErrTokenNotValidYet, ReasonNotYetValid},
		{jwt.ErrTokenInvalidIssuer, ReasonIssuer},
		{jwt.ErrTokenInvalidAudience, ReasonAudience},
	} {
		if errors.Is(err, known.err) {
			return known.reason
		}
	}
	return ReasonClaims
}

// latestExpiry is where times cannot be written any more.
var latestExpiry = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

func principalOf(claims jwt.MapClaims) (Principal, error) {
	refused := &RefusedError{ReasonClaims}
	subject, err := claims.GetSubject()
	if err != nil {
		return Principal{}, refused
	}
	exp, err := claims.GetExpirationTime()
	if err != nil || exp == nil || exp.After(latestExpiry) || exp.Unix() < 0 {
		return Principal{}, refused
	}
	p := Principal{Subject: subject, ExpiresAt: exp.Time}
	if value, has := claims["scope"]; has {
		scope, text := value.(string)
		if !text {
			return Principal{}, refused
		}
		p.Scopes = strings.Fields(scope)
	}
	if value, has := claims["rooms"]; has {
		if p.Rooms, err = grantsOf(value); err != nil {
			return Principal{}, refused
		}
		p.NamesRooms = true
	}
	return p, nil
}

// Bearer takes the token out of an Authorization header; false when it is of another kind or has none.
func Bearer(header string) (string, bool) {
	scheme, token, ok := strings.Cut(header, " ")
	token = strings.Trim(token, " ")
	return token, ok && token != "" && strings.EqualFold(scheme, "Bearer")
}
