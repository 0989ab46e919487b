package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/opskit/auth"
)

type tokenCommand struct {
	Admin      bool          `help:"A token of an administrator, for the API of rooms nodes." env:"-"`
	Subject    string        `help:"Who it is for: what is recorded as the actor of what it is used for." default:"admin" env:"-"`
	For        time.Duration `help:"How long it is valid." default:"1h" env:"-"`
	HMACSecret opskit.Secret `name:"hmac-secret" help:"The secret of the services that will take it, at least 32 bytes." placeholder:"SECRET" env:"PARLEY_AUTH_HMAC_SECRET"`
	Issuer     string        `help:"Its iss, if the services ask for one." placeholder:"ISS" env:"PARLEY_AUTH_ISSUER"`
	Audience   string        `help:"Its aud, if the services ask for one." placeholder:"AUD" env:"PARLEY_AUTH_AUDIENCE"`
}

// Validate refuses what would make no token, or one that is refused.
func (c *tokenCommand) Validate() error {
	var problems []error
	if !c.Admin {
		problems = append(problems, errors.New("--admin: say what the token is for; this build makes those of administrators only"))
	}
	if c.For <= 0 {
		problems = append(problems, fmt.Errorf("--for: %s is not in the future", c.For))
	}
	if c.Subject == "" || len(c.Subject) > 128 {
		problems = append(problems, errors.New("--subject: give 1 to 128 bytes"))
	}
	if len(c.HMACSecret.Reveal()) < auth.MinSecretBytes {
		problems = append(problems, fmt.Errorf("PARLEY_AUTH_HMAC_SECRET: %w; name its file in PARLEY_AUTH_HMAC_SECRET_FILE", auth.ErrSecret))
	}
	return errors.Join(problems...)
}

// Run executes the command.
func (c *tokenCommand) Run(streams Streams) error {
	now := time.Now()
	token, err := auth.Sign(c.HMACSecret, auth.Claims{
		Subject: c.Subject, Issuer: c.Issuer, Audience: c.Audience, Scopes: []string{auth.ScopeAdmin},
		IssuedAt: now, ExpiresAt: now.Add(c.For),
	})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(streams.Out, token); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
