package auth

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/parley-rt/parley/libs/opskit"
)

// ErrSecret says that a secret is too short to sign with.
var ErrSecret = fmt.Errorf("the secret needs at least %d bytes", MinSecretBytes)

// Claims are what a token says. Subject and ExpiresAt are required.
type Claims struct {
	Subject  string
	Issuer   string
	Audience string
	Scopes   []string
	// Rooms becomes the claim rooms; nil: there is none.
	Rooms    []Grant
	IssuedAt time.Time
	// ExpiresAt is cut to whole seconds.
	ExpiresAt time.Time
}

// Sign makes a token that a Verifier with the same secret accepts. ErrSecret when the secret is too short.
func Sign(secret opskit.Secret, c Claims) (string, error) {
	if len(secret.Reveal()) < MinSecretBytes {
		return "", ErrSecret
	}
	if c.Subject == "" {
		return "", errors.New("a token needs a subject")
	}
	if !c.ExpiresAt.After(c.IssuedAt) {
		return "", errors.New("a token must expire after it was issued")
	}
	claims := jwt.MapClaims{"sub": c.Subject, "exp": c.ExpiresAt.Unix(), "iat": c.IssuedAt.Unix()}
	for name, value := range map[string]string{"iss": c.Issuer, "aud": c.Audience, "scope": strings.Join(c.Scopes, " ")} {
		if value != "" {
			claims[name] = value
		}
	}
	if c.Rooms != nil {
		rooms := make(map[string][]string, len(c.Rooms))
		for _, g := range c.Rooms {
			rooms[g.Pattern] = append(rooms[g.Pattern], strings.Split(g.May.String(), ",")...)
		}
		claims["rooms"] = rooms
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret.Reveal()))
	if err != nil {
		return "", errors.New("the token cannot be encoded") // the library's error could quote claims
	}
	return token, nil
}
