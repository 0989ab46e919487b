package parley

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

const (
	// renewAhead is how long before it expires a token is replaced; of one that lives less than four times as long, in the last
	// quarter of what is left.
	renewAhead = 5 * time.Minute
	// renewSpread: up to this part of that is added at random, so that many clients do not come at once.
	renewSpread = 0.2
	// renewRetry is the least pause after an attempt that failed.
	renewRetry = time.Second
)

// ErrNoToken says that there will be no token any more, when what GetToken returns wraps it: the Client ends.
var ErrNoToken = errors.New("no token can be had")

// errSameToken is for those who keep a token until it has expired.
var errSameToken = errors.New("the new token expires no later than the old one")

// TokenError is a failure of Config.GetToken.
type TokenError struct{ Err error }

// Error returns the cause.
func (e *TokenError) Error() string { return "get token: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *TokenError) Unwrap() error { return e.Err }

func (c *Client) token(ctx context.Context) (string, error) {
	if c.cfg.GetToken == nil {
		return "", nil
	}
	token, err := c.cfg.GetToken(ctx)
	if err != nil {
		return "", &TokenError{err}
	}
	return token, nil
}

// renewIn is how long to wait before a token that expires is replaced.
func renewIn(now, expires time.Time, random float64) time.Duration {
	left := expires.Sub(now)
	ahead := min(renewAhead, left/4)
	return max(0, left-ahead-time.Duration(random*renewSpread*float64(ahead)))
}

// keepToken replaces the member's token before it expires, over and over, until ctx ends: the connection's. A server that has not
// said when the token expires is not told a new one.
func (c *Client) keepToken(ctx context.Context) {
	failures := 0
	var hint time.Duration // what the server asked for
	for {
		expires := c.Session().TokenExpiresAt
		if expires.IsZero() {
			return
		}
		wait := renewIn(time.Now(), expires, rand.Float64())
		if failures > 0 {
			wait = renewRetry + retryDelay(failures, hint, rand.Float64())
		}
		if !sleep(ctx, wait) {
			return
		}
		err := c.renew(ctx)
		if now := c.Session().TokenExpiresAt; err == nil && !now.IsZero() && !now.After(expires) {
			err = errSameToken // without a pause it would be shown over and over as its end comes near
		}
		switch {
		case err == nil:
			failures = 0
			continue
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrNoToken) || errors.Is(err, CodeUnknownKind):
			return // the connection ends when the token does
		}
		failures++
		hint = 0
		if refused, ok := errors.AsType[*Error](err); ok {
			hint = refused.RetryAfter
		}
		c.cfg.Logger.Warn("token not renewed", "err", err, "expires_at", expires)
	}
}

// renew gets a token and gives it to the server.
func (c *Client) renew(ctx context.Context) error {
	getting, cancel := context.WithTimeout(ctx, c.cfg.HandshakeTimeout)
	token, err := c.token(getting)
	cancel()
	if err != nil {
		return err
	}
	answer := make(chan error, 1)
	c.mu.Lock()
	c.renewal = &renewal{token: token, answer: answer}
	c.wakeWriter()
	c.mu.Unlock()
	ctx, cancel = context.WithTimeout(ctx, c.cfg.AnswerTimeout)
	defer cancel()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("renew token: %w", ctx.Err())
	}
}

// renewal is a token on its way to the server.
type renewal struct {
	token  string // empty once it was sent
	answer chan<- error
}

// frame returns the frame to send, once.
func (r *renewal) frame() *clientv1.Envelope {
	if r == nil || r.token == "" {
		return nil
	}
	env := &clientv1.Envelope{Kind: &clientv1.Envelope_Renew{Renew: &clientv1.Renew{Token: r.token}}}
	r.token = ""
	return env
}

// renewed takes the server's answer to a renewal. The lock is held.
func (c *Client) renewed(r *renewal, answer *clientv1.Renewed, refused *Error) {
	if answer != nil {
		c.session.TokenExpiresAt = timeOf(answer.GetExpiresAt())
		r.answer <- nil
		return
	}
	r.answer <- refused
}

// sleep waits; false: ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
