package adminapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"unicode"
	"unicode/utf8"

	"connectrpc.com/connect"

	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/opskit/auth"
)

// anonymous is the actor when nobody proves who they are.
const anonymous = "anonymous"

// maxActorBytes is what is taken as an actor.
const maxActorBytes = 128

// guard decides who gets in, and how many at a time.
type guard struct {
	verifier *auth.Verifier // nil: everybody is an administrator
	free     chan struct{}
	metrics  *metrics
	logger   *slog.Logger
}

func newGuard(cfg Config, m *metrics, deps Deps) (*guard, error) {
	g := &guard{free: make(chan struct{}, cfg.MaxInFlight), metrics: m, logger: opskit.RateLimited(deps.Logger)}
	if cfg.Auth.Mode == auth.ModeNone {
		return g, nil
	}
	var err error
	g.verifier, err = auth.NewVerifier(cfg.Auth, auth.Deps{Now: deps.Now, Logger: g.logger, MeterProvider: deps.MeterProvider})
	return g, err
}

// run fetches the keys of tokens until ctx ends.
func (g *guard) run(ctx context.Context) {
	if g.verifier != nil {
		g.verifier.Run(ctx)
	}
}

type callerKey struct{}

// Caller is who asks.
type Caller struct {
	// Actor is in whose name it is recorded.
	Actor string
	// Moderates: no administrator, but a member that may moderate these rooms. nil: an administrator.
	Moderates *auth.Grants
}

// CallerOf is who asks.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// authenticate is a request gate: nothing but the header was read yet. Whatever is wrong with a token, the answer is the same.
func (g *guard) authenticate(ctx context.Context, _ connect.Spec, _ connect.Peer, header http.Header) (context.Context, error) {
	c, err := g.caller(ctx, header)
	if err == nil {
		return context.WithValue(ctx, callerKey{}, c), nil
	}
	var refused *auth.RefusedError
	switch {
	case errors.As(err, &refused):
		g.metrics.unauthenticated(ctx, refused.Reason)
		g.logger.Warn("api request refused", slog.String("reason", string(refused.Reason)))
	case !errors.Is(err, auth.ErrKeys):
		return nil, err
	}
	return nil, Judge(common).Error(ctx, err)
}

func (g *guard) caller(ctx context.Context, header http.Header) (Caller, error) {
	if g.verifier == nil {
		// Without tokens a page that a developer looks at could use the API in the developer's place. Browsers say where a
		// request that is not a plain read comes from, and nothing else does.
		if header.Get("Origin") != "" || header.Get("Sec-Fetch-Site") != "" {
			return Caller{}, connect.NewError(connect.CodePermissionDenied, errors.New("browsers are served only with authentication"))
		}
		return Caller{Actor: anonymous}, nil
	}
	token, ok := auth.Bearer(header.Get("Authorization"))
	if !ok || len(header.Values("Authorization")) != 1 {
		return Caller{}, &auth.RefusedError{Reason: auth.ReasonMissing}
	}
	p, err := g.verifier.Verify(ctx, token)
	if err != nil {
		return Caller{}, err
	}
	// What an administrator or a moderator does is recorded in the name of sub.
	c := Caller{Actor: p.Subject}
	if !p.Has(auth.ScopeAdmin) {
		if p.Rooms.Any()&auth.Moderate == 0 {
			return Caller{}, &auth.RefusedError{Reason: auth.ReasonScope}
		}
		c.Moderates = &p.Rooms
	}
	if p.Subject == "" || len(p.Subject) > maxActorBytes || !printable(p.Subject) {
		return Caller{}, &auth.RefusedError{Reason: auth.ReasonClaims}
	}
	return c, nil
}

func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

type placeKey struct{}

// place is a request's place among those in flight, taken by admit.
type place struct{ taken bool }

// places gives back the place that a request has taken when its handler returns.
func (g *guard) places(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := new(place)
		defer func() {
			if p.taken {
				<-g.free
			}
		}()
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), placeKey{}, p)))
	})
}

// admit is a request gate: it takes a place, before the body is read, or refuses at once.
func (g *guard) admit(ctx context.Context, _ connect.Spec, _ connect.Peer, _ http.Header) (context.Context, error) {
	select {
	case g.free <- struct{}{}:
		if p, ok := ctx.Value(placeKey{}).(*place); ok {
			p.taken = true
			return ctx, nil
		}
		<-g.free
		return nil, Judge(common).Error(ctx, errNoPlace)
	default:
		g.metrics.full(ctx)
		return nil, Judge(common).Error(ctx, ErrBusy)
	}
}
