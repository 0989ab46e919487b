package api

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/opskit/auth"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

func description() *roomv1.Frame {
	return &roomv1.Frame{Kind: &roomv1.Frame_Description{Description: &roomv1.Description{Node: "rooms-1"}}}
}

func administered() *roomv1.Frame {
	return &roomv1.Frame{Kind: &roomv1.Frame_Administered{Administered: &roomv1.Administered{Seq: 7, Changed: true}}}
}

// Whatever is wrong with who asks, the answer is one and the same, no room hears of it, and no token is logged.
func TestStrangersAreToldNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, withTokens)
	b.rooms.says(description(), nil)
	good := token(t)
	parts := strings.Split(good, ".")
	var first answer
	for name, c := range map[string]struct {
		edit   func(*http.Request)
		reason string
	}{
		"no header":      {func(*http.Request) {}, "token_missing"},
		"another scheme": {func(r *http.Request) { r.SetBasicAuth("admin", canary) }, "token_missing"},
		"no token":       {func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") }, "token_missing"},
		"two headers": {func(r *http.Request) {
			r.Header["Authorization"] = []string{"Bearer " + good, "Bearer " + good}
		}, "token_missing"},
		"in a query":     {func(r *http.Request) { r.URL.RawQuery = "access_token=" + good }, "token_missing"},
		"not a token":    {bearer(canary), "token_malformed"},
		"no signature":   {bearer(parts[0] + "." + parts[1] + "."), "token_signature"},
		"another's":      {bearer(parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2]))), "token_signature"},
		"expired":        {bearer(token(t, func(c *auth.Claims) { c.IssuedAt, c.ExpiresAt = time.Unix(1, 0), time.Unix(2, 0) })), "token_expired"},
		"other audience": {bearer(token(t, func(c *auth.Claims) { c.Audience = "other" })), "token_audience"},
		"a member's":     {bearer(token(t, func(c *auth.Claims) { c.Scopes = []string{"parley:member"} })), "token_scope"},
		"no scope":       {bearer(token(t, func(c *auth.Claims) { c.Scopes = nil })), "token_scope"},
		"control in sub": {bearer(token(t, func(c *auth.Claims) { c.Subject = "ops\n" + canary })), "token_claims"},
		"long sub":       {bearer(token(t, func(c *auth.Claims) { c.Subject = strings.Repeat("x", 129) })), "token_claims"},
	} {
		before := b.counted("parley.api.refused", "reason", c.reason)
		a := b.call("GetRoom", `{"room_id":"r"}`, c.edit)
		require.Equal(t, http.StatusUnauthorized, a.status, name)
		require.Equal(t, "Bearer", a.header.Get("WWW-Authenticate"), name)
		if first.text == "" {
			first = a
		}
		require.Equal(t, first.text, a.text, name)
		require.Equal(t, before+1, b.counted("parley.api.refused", "reason", c.reason), name)
	}
	require.Zero(t, b.rooms.count())
	a := b.call("GetRoom", `{"room_id":"r"}`, bearer(good))
	require.Equal(t, http.StatusOK, a.status, a.text)

	logged := b.logs.String()
	require.Contains(t, logged, "api request refused")
	for _, secret := range append(parts, canary, good) {
		require.NotContains(t, logged, secret)
		require.NotContains(t, first.text, secret)
	}
}

// A stranger is refused before a byte of the body is looked at, whatever is in it.
func TestStrangersAreNotRead(t *testing.T) {
	t.Parallel()
	b := setup(t, withTokens)
	require.Equal(t, http.StatusUnauthorized, b.call("Ban", "{").status)
	require.Equal(t, http.StatusUnauthorized, b.call("Ban", strings.Repeat("x", 1<<20)).status)
}

func TestActorIsTheSubject(t *testing.T) {
	t.Parallel()
	b := setup(t, withTokens)
	b.rooms.says(administered(), nil)
	require.Equal(t, http.StatusOK, b.call("Kick", `{"room_id":"r","member_id":"m"}`, bearer(token(t))).status)
	require.Equal(t, "ops@example.com", b.rooms.last(t).GetAdminister().GetActor())

	open := setup(t)
	open.rooms.says(administered(), nil)
	require.Equal(t, http.StatusOK, open.call("Kick", `{"room_id":"r","member_id":"m"}`).status)
	require.Equal(t, "anonymous", open.rooms.last(t).GetAdminister().GetActor())
	require.NotContains(t, open.logs.String(), "everybody who reaches the api", "on loopback")
}

// Without tokens a web page must not be able to use a developer's API.
func TestBrowsersNeedTokens(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.rooms.says(description(), nil)
	for _, header := range []string{"Origin", "Sec-Fetch-Site"} {
		a := b.call("GetRoom", `{"room_id":"r"}`, func(r *http.Request) { r.Header.Set(header, "same-origin") })
		require.Equal(t, http.StatusForbidden, a.status)
		require.Equal(t, "permission_denied", a.body["code"])
	}
	require.Zero(t, b.rooms.count())
	guarded := setup(t, withTokens)
	guarded.rooms.says(description(), nil)
	a := guarded.call("GetRoom", `{"room_id":"r"}`, bearer(token(t)), func(r *http.Request) { r.Header.Set("Origin", "https://console.example") })
	require.Equal(t, http.StatusOK, a.status)
}

// held makes the rooms wait with their answer; the returned functions wait until n questions are open and let them go.
func (b *bundle) held() (waitFor func(n int), release func()) {
	arrived, free := make(chan struct{}, 1024), make(chan struct{})
	b.rooms.mu.Lock()
	b.rooms.answer = func(ctx context.Context, _ *roomv1.Frame) (*roomv1.Frame, error) {
		arrived <- struct{}{}
		select {
		case <-free:
			return description(), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	b.rooms.mu.Unlock()
	return func(n int) {
		for range n {
			<-arrived
		}
	}, func() { close(free) }
}

func TestInFlightIsBounded(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.MaxInFlight = 2; c.Within = time.Minute })
	waitFor, release := b.held()
	answers := make(chan answer, 2)
	for range 2 {
		go func() { answers <- b.call("GetRoom", `{"room_id":"r"}`) }()
	}
	waitFor(2)
	for range 3 {
		a := b.call("GetRoom", `{"room_id":"r"}`)
		require.Equal(t, http.StatusTooManyRequests, a.status)
		require.Equal(t, "1", a.header.Get("Retry-After"))
		require.Equal(t, "BUSY", a.debug("ErrorInfo")["reason"])
	}
	require.EqualValues(t, 3, b.counted("parley.api.refused", "reason", "in_flight"))
	release()
	for range 2 {
		require.Equal(t, http.StatusOK, (<-answers).status)
	}
	require.Equal(t, http.StatusOK, b.call("GetRoom", `{"room_id":"r"}`).status, "the places are free again")
}

func TestRequestsEnd(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Within = 50 * time.Millisecond })
	_, release := b.held()
	defer release()
	a := b.call("GetRoom", `{"room_id":"r"}`)
	require.Equal(t, http.StatusServiceUnavailable, a.status, a.text)
	require.NotEmpty(t, a.header.Get("Retry-After"))
}

// Stop answers what is in flight and takes nothing more.
func TestStopDrains(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Within = time.Minute })
	waitFor, release := b.held()
	answered := make(chan answer, 1)
	go func() { answered <- b.call("GetRoom", `{"room_id":"r"}`) }()
	waitFor(1)
	stopped := make(chan error, 1)
	go func() { stopped <- b.api.Stop(context.WithoutCancel(t.Context())) }()
	require.Eventually(t, func() bool {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+"GetRoom", strings.NewReader("{}"))
		require.NoError(t, err)
		res, err := new(http.Transport).RoundTrip(req)
		if err == nil {
			_ = res.Body.Close()
		}
		return err != nil
	}, 10*time.Second, 10*time.Millisecond, "new connections are refused")
	select {
	case err := <-stopped:
		require.FailNow(t, "stopped while a request was in flight", "%v", err)
	default:
	}
	release()
	require.Equal(t, http.StatusOK, (<-answered).status)
	require.NoError(t, <-stopped)
}

func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Within = time.Minute })
	waitFor, release := b.held()
	gone := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, b.url+"GetRoom", strings.NewReader(`{"room_id":"r"}`))
		if err == nil {
			req.Header.Set("Content-Type", "application/json")
			var res *http.Response
			if res, err = b.http.Do(req); err == nil {
				err = res.Body.Close()
			}
		}
		gone <- err
	}()
	waitFor(1)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, b.api.Stop(ctx), context.DeadlineExceeded)
	require.Error(t, <-gone)
	release()
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Listen: "nonsense", MaxInFlight: -1, Auth: auth.Config{Mode: auth.ModeJWT, HMACSecret: opskit.NewSecret("short")}}, Deps{})
	for _, want := range []string{"PARLEY_API_LISTEN", "PARLEY_AUTH_HMAC_SECRET", "max in flight"} {
		require.ErrorContains(t, err, want)
	}
	b := setup(t)
	other, err := New(Config{Listen: b.api.Addr(), Auth: auth.Config{Mode: auth.ModeNone}}, b.deps())
	require.NoError(t, err)
	require.ErrorContains(t, other.Start(t.Context()), "PARLEY_API_LISTEN")
	require.NoError(t, other.Stop(t.Context()))
}
