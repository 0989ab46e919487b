package parley

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// Config tunes a Client. The zero value is right for most programs.
type Config struct {
	// GetToken returns the member's JWT. It is called before every connection, and before the token expires: the new one is
	// given to the server over the open connection. An error counts as a failed attempt, as a *TokenError; one that wraps ErrNoToken
	// ends the Client. It must end with its context. Nil: the server authenticates nobody, or by Header.
	GetToken func(ctx context.Context) (string, error)
	// InOrder begins with the first of several addresses; default: with one at random, so that many clients spread.
	InOrder bool
	// SessionToken resumes the session of an earlier process, see Client.Session.
	SessionToken string

	// OnState is called on every change of state and for every failed attempt to connect.
	OnState func(StateChange)
	// OnSession is called when a session is opened or resumed, before OnState. Each time the token is a new one: a program
	// that resumes after its own restart stores it here.
	OnSession func(Session)

	// BackoffMin and BackoffMax bound the wait between attempts: the first is BackoffMin plus up to as much again at random,
	// later ones twice the range of the one before. Defaults 500 ms and 20 s. A connection that lasted 10 s starts over. A gateway
	// that told when to come back is tried then, up to three times in a row; after that not before the backoff either.
	BackoffMin, BackoffMax time.Duration
	// HandshakeTimeout bounds one attempt, GetToken and the session frame included. Default 10 s.
	HandshakeTimeout time.Duration
	// PingInterval is the silence after which the Client asks for a sign of life, PingTimeout the further silence after which
	// it takes the connection for dead. Default 25 s each.
	PingInterval, PingTimeout time.Duration
	// AnswerTimeout is how long a publish waits for its answer on a living connection before it is sent again. Servers answer
	// within 5 s; default 10 s.
	AnswerTimeout time.Duration

	// HelplessTimeout is how long a gateway may refuse everything as unavailable before the Client tries another of its addresses;
	// up to as much again at random is added, and it doubles with each gateway in a row. With one address it does nothing.
	// Default 8 s.
	HelplessTimeout time.Duration

	// MaxPending is how many publishes of a room may be unanswered; further ones wait. Default 256.
	MaxPending int
	// MaxMessageBytes is the server's limit for one frame. A larger publish fails at once, because the server would close the
	// connection over it. Default 64 KiB.
	MaxMessageBytes int

	// Binary asks for protobuf frames instead of JSON ones: smaller, and less work for both ends.
	Binary bool
	// Header is sent with the WebSocket handshake.
	Header http.Header
	// HTTPClient makes the handshake; its transport holds TLS and proxy settings. Default http.DefaultClient.
	HTTPClient *http.Client
	// Logger gets what a program need not act on. Default: nothing is logged.
	Logger *slog.Logger
}

// validate fills in defaults. It returns every problem at once.
func (c Config) validate() (Config, error) {
	var errs []error
	duration := func(name string, v *time.Duration, def time.Duration) {
		if *v == 0 {
			*v = def
		}
		if *v < 0 {
			errs = append(errs, fmt.Errorf("%s is negative: %s", name, *v))
		}
	}
	number := func(name string, v *int, def int) {
		if *v == 0 {
			*v = def
		}
		if *v < 0 {
			errs = append(errs, fmt.Errorf("%s is negative: %d", name, *v))
		}
	}
	duration("BackoffMin", &c.BackoffMin, 500*time.Millisecond)
	duration("BackoffMax", &c.BackoffMax, max(20*time.Second, c.BackoffMin))
	duration("HandshakeTimeout", &c.HandshakeTimeout, 10*time.Second)
	duration("PingInterval", &c.PingInterval, 25*time.Second)
	duration("PingTimeout", &c.PingTimeout, 25*time.Second)
	duration("AnswerTimeout", &c.AnswerTimeout, 10*time.Second)
	duration("HelplessTimeout", &c.HelplessTimeout, 8*time.Second)
	number("MaxPending", &c.MaxPending, 256)
	number("MaxMessageBytes", &c.MaxMessageBytes, 64<<10)
	if c.BackoffMax < c.BackoffMin {
		errs = append(errs, fmt.Errorf("BackoffMax %s is below BackoffMin %s", c.BackoffMax, c.BackoffMin))
	}
	if c.HTTPClient == nil {
		c.HTTPClient = http.DefaultClient
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, errors.Join(errs...)
}
