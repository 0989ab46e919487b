package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/opskit/auth"
	"github.com/parley-rt/parley/libs/protocol/ids"
	"github.com/parley-rt/parley/services/gateway/internal/member"
	"github.com/parley-rt/parley/services/gateway/internal/ws"
)

// authenticator finds out who members are by their tokens.
type authenticator struct {
	verifier *auth.Verifier
	standard auth.Grants // of tokens without the claim rooms
	logger   *slog.Logger
	checked  metric.Int64Counter
}

// newAuthenticator returns nil where everybody is let in.
func newAuthenticator(cfg Config, deps Deps, logger *slog.Logger) (*authenticator, error) {
	if cfg.Auth.Mode == auth.ModeNone {
		return nil, nil
	}
	a := &authenticator{logger: opskit.RateLimited(logger)}
	grants, err := parseGrants(cfg.AuthDefaultRooms)
	if err == nil {
		a.standard, err = auth.NewGrants(grants)
	}
	if err != nil {
		return nil, err
	}
	if a.verifier, err = auth.NewVerifier(cfg.Auth, auth.Deps{Logger: a.logger, MeterProvider: deps.MeterProvider}); err != nil {
		return nil, err
	}
	a.checked, err = deps.MeterProvider.Meter("github.com/parley-rt/parley/services/gateway").Int64Counter("parley.gateway.tokens",
		metric.WithUnit("{token}"), metric.WithDescription("Tokens of members that were checked, by outcome: ok, unavailable, or why they were refused."))
	if err != nil {
		return nil, fmt.Errorf("create instruments: %w", err)
	}
	return a, nil
}

func parseGrants(texts []string) ([]auth.Grant, error) {
	var grants []auth.Grant
	for _, text := range texts {
		g, err := auth.ParseGrant(text)
		if err != nil {
			return nil, err
		}
		grants = append(grants, g)
	}
	return grants, nil
}

// check is a member.Authenticate.
func (a *authenticator) check(ctx context.Context, token string) (*member.Principal, error) {
	p, err := a.verify(ctx, token)
	outcome := "ok"
	var refused *auth.RefusedError
	switch {
	case errors.As(err, &refused):
		outcome = string(refused.Reason)
		a.logger.Warn("token of a member refused", slog.String("reason", outcome))
	case err != nil:
		outcome = "unavailable"
		a.logger.Warn("token of a member cannot be checked", slog.Any("err", err))
	}
	a.checked.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
	return p, err
}

func (a *authenticator) verify(ctx context.Context, token string) (*member.Principal, error) {
	p, err := a.verifier.Verify(ctx, token)
	if err != nil {
		return nil, err
	}
	if ids.CheckMember(p.Subject) != nil {
		return nil, &auth.RefusedError{Reason: member.ReasonMember}
	}
	who := &member.Principal{Member: p.Subject, Grants: p.Rooms, ExpiresAt: p.ExpiresAt}
	if !p.NamesRooms {
		who.Grants = a.standard
	}
	return who, nil
}

// identify is a ws.Identify: a bearer token in the handshake is checked before anything is allocated. Without one the token comes in
// hello.
func (a *authenticator) identify(r *http.Request) (who any, refused *ws.Refusal) {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return nil, nil
	}
	token, ok := auth.Bearer(values[0])
	if !ok || len(values) > 1 {
		return nil, &ws.Refusal{Status: http.StatusUnauthorized, Text: "Authorization is not one bearer token", Header: http.Header{"Www-Authenticate": {"Bearer"}}}
	}
	ctx, cancel := context.WithTimeout(r.Context(), identifyWithin)
	defer cancel()
	p, err := a.check(ctx, token)
	var wrong *auth.RefusedError
	switch {
	case errors.As(err, &wrong):
		return nil, &ws.Refusal{
			Status: http.StatusUnauthorized, Text: member.RefusalText(err),
			Header: http.Header{"Www-Authenticate": {`Bearer error="invalid_token"`}},
		}
	case err != nil:
		return nil, &ws.Refusal{Status: http.StatusServiceUnavailable, Text: member.RefusalText(err), Header: http.Header{"Retry-After": {"1"}}}
	}
	return p, nil
}

// identifyWithin bounds the check of a handshake's token, which may have to wait for keys.
const identifyWithin = 3500 * time.Millisecond
