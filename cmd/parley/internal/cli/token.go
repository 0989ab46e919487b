package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/opskit/auth"
	"github.com/parley-rt/parley/libs/protocol/ids"
)

type tokenCommand struct {
	Admin      bool          `help:"A token of an administrator, for the API of rooms nodes." env:"-"`
	Member     string        `help:"A token of this member, for gateways; with the capability moderate also for the API." placeholder:"ID" env:"-"`
	Room       []string      `sep:"none" help:"What the member may do where, once or more: chat-*=join,publish,history,presence,moderate; a pattern alone gives all but moderate. Default: that in every room." placeholder:"PATTERN=CAPABILITIES" env:"-"`
	Subject    string        `help:"Who an administrator is: what is recorded as the actor of what the token is used for." default:"admin" env:"-"`
	For        time.Duration `help:"How long it is valid." default:"1h" env:"-"`
	HMACSecret opskit.Secret `name:"hmac-secret" help:"The secret of the services that will take it, at least 32 bytes." placeholder:"SECRET" env:"PARLEY_AUTH_HMAC_SECRET"`
	Issuer     string        `help:"Its iss, if the services ask for one." placeholder:"ISS" env:"PARLEY_AUTH_ISSUER"`
	Audience   string        `help:"Its aud, if the services ask for one." placeholder:"AUD" env:"PARLEY_AUTH_AUDIENCE"`
}

// Validate refuses what would make no token, or one that is refused.
func (c *tokenCommand) Validate() error {
	var problems []error
	switch {
	case c.Admin && c.Member != "":
		problems = append(problems, errors.New("--member: a token is for an administrator or for a member: leave one out"))
	case !c.Admin && c.Member == "":
		problems = append(problems, errors.New("--member or --admin: say whom the token is for"))
	case c.Admin && len(c.Room) > 0:
		problems = append(problems, errors.New("--room: an administrator may do everything everywhere: leave it out"))
	}
	if c.Member != "" {
		if err := ids.CheckMember(c.Member); err != nil {
			problems = append(problems, fmt.Errorf("--member: %w", err))
		}
	}
	if _, err := c.rooms(); err != nil {
		problems = append(problems, fmt.Errorf("--room: %w", err))
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

// rooms are what a member may do.
func (c *tokenCommand) rooms() ([]auth.Grant, error) {
	if len(c.Room) == 0 {
		return []auth.Grant{{Pattern: "*", May: auth.Ordinary}}, nil
	}
	var grants []auth.Grant
	for _, text := range c.Room {
		g, err := auth.ParseGrant(text)
		if err != nil {
			return nil, err
		}
		grants = append(grants, g)
	}
	_, err := auth.NewGrants(grants)
	return grants, err
}

// Run executes the command.
func (c *tokenCommand) Run(streams Streams) error {
	now := time.Now()
	claims := auth.Claims{Issuer: c.Issuer, Audience: c.Audience, IssuedAt: now, ExpiresAt: now.Add(c.For)}
	if c.Admin {
		claims.Subject, claims.Scopes = c.Subject, []string{auth.ScopeAdmin}
	} else {
		rooms, err := c.rooms()
		if err != nil {
			return err
		}
		claims.Subject, claims.Rooms = c.Member, rooms
	}
	token, err := auth.Sign(c.HMACSecret, claims)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(streams.Out, token); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
