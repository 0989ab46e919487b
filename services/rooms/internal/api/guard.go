package api

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

// maxActorBytes is what rooms take as an actor.
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
	g.verifier, err = auth.NewVerifier(cfg.Auth, deps.Now)
	return g, err
}

type actorKey struct{}

// actorOf is who asks, as the room records it.
func actorOf(ctx context.Context) string {
	actor, _ := ctx.Value(actorKey{}).(string)
	return actor
}

// authenticate is a request gate: nothing but the header was read yet. Whatever is wrong with a token, the answer is the same.
func (g *guard) authenticate(ctx context.Context, _ connect.Spec, _ connect.Peer, header http.Header) (context.Context, error) {
	actor, err := g.actor(header)
	if err == nil {
		return context.WithValue(ctx, actorKey{}, actor), nil
	}
	var refused *auth.RefusedError
	if !errors.As(err, &refused) {
		return nil, err
	}
	g.metrics.unauthenticated(ctx, refused.Reason)
	g.logger.Warn("api request refused", slog.String("reason", string(refused.Reason)))
	return nil, errorOf(ctx, err)
}

func (g *guard) actor(header http.Header) (string, error) {
	if g.verifier == nil {
		// Without tokens a page that a developer looks at could use the API in the developer's place. Browsers say where a
		// request that is not a plain read comes from, and nothing else does.
		if header.Get("Origin") != "" || header.Get("Sec-Fetch-Site") != "" {
			return "", connect.NewError(connect.CodePermissionDenied, errors.New("browsers are served only with authentication"))
		}
		return anonymous, nil
	}
	token, ok := auth.Bearer(header.Get("Authorization"))
	if !ok || len(header.Values("Authorization")) != 1 {
		return "", &auth.RefusedError{Reason: auth.ReasonMissing}
	}
	p, err := g.verifier.Verify(token)
	if err != nil {
		return "", err
	}
	if !p.Has(auth.ScopeAdmin) {
		return "", &auth.RefusedError{Reason: auth.ReasonScope}
	}
	// What an administrator does is recorded in the name of sub.
	if p.Subject == "" || len(p.Subject) > maxActorBytes || !printable(p.Subject) {
		return "", &auth.RefusedError{Reason: auth.ReasonClaims}
	}
	return p.Subject, nil
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
		return nil, errorOf(ctx, errNoPlace)
	default:
		g.metrics.full(ctx)
		return nil, errorOf(ctx, errBusy)
	}
}
