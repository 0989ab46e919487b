package parley_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/sdk/go"
)

// dialExpiring is dial to a server that says that the token expires.
func dialExpiring(t *testing.T, s *server, cfg parley.Config, in time.Duration) (*parley.Client, *peer) {
	t.Helper()
	ready := make(chan *peer, 1)
	go func() {
		p := s.accept()
		p.hello()
		p.expiring(in)
		ready <- p
	}()
	client, err := parley.Dial(context.Background(), s.url(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = client.Close(ctx)
	})
	return client, <-ready
}

func (p *peer) expiring(in time.Duration) {
	p.t.Helper()
	p.send(&clientv1.Envelope{Id: p.helloID, Kind: &clientv1.Envelope_Session{Session: &clientv1.Session{
		Token: "token-1", MemberId: "me", TokenExpiresAt: timestamppb.New(time.Now().Add(in)),
	}}})
}

func (p *peer) renew() (token string, id uint32) {
	p.t.Helper()
	env := p.next()
	require.NotNil(p.t, env.GetRenew(), "expected renew, got %v", env)
	return env.GetRenew().GetToken(), env.GetId()
}

func renewed(id uint32, in time.Duration) *clientv1.Envelope {
	return &clientv1.Envelope{Id: id, Kind: &clientv1.Envelope_Renewed{Renewed: &clientv1.Renewed{ExpiresAt: timestamppb.New(time.Now().Add(in))}}}
}

// tokens are "jwt-1", "jwt-2" and so on.
func tokens() func(context.Context) (string, error) {
	var n atomic.Int64
	return func(context.Context) (string, error) { return fmt.Sprintf("jwt-%d", n.Add(1)), nil }
}

// The token is renewed over the open connection before it expires, again and again, and a refusal has another one asked for.
func TestTokenIsRenewed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cfg := fast()
	cfg.GetToken = tokens()
	client, p := dialExpiring(t, s, cfg, 400*time.Millisecond)
	token, id := p.renew()
	require.Equal(t, "jwt-2", token)
	p.send(renewed(id, 600*time.Millisecond))
	token, id = p.renew()
	require.Equal(t, "jwt-3", token)
	p.send(refusal(id, parley.CodeUnauthenticated, "", "", false, 0))
	token, id = p.renew()
	require.Equal(t, "jwt-4", token)
	p.send(renewed(id, time.Hour))
	require.Eventually(t, func() bool { return time.Until(client.Session().TokenExpiresAt) > time.Minute }, patience, time.Millisecond)
	require.Equal(t, parley.Connected, client.State())
}

// A program that gives out the same token until it has expired has it shown now and then, and not as fast as the server answers,
// which would take that for abuse.
func TestSameTokenAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cfg := fast()
	cfg.GetToken = func(context.Context) (string, error) { return "jwt", nil }
	client, p := dialExpiring(t, s, cfg, 200*time.Millisecond)
	expires := client.Session().TokenExpiresAt
	_, id := p.renew()
	p.send(&clientv1.Envelope{Id: id, Kind: &clientv1.Envelope_Renewed{Renewed: &clientv1.Renewed{ExpiresAt: timestamppb.New(expires)}}})
	p.silence(700 * time.Millisecond)
	_, id = p.renew()
	p.send(renewed(id, time.Hour))
	require.Eventually(t, func() bool { return client.Session().TokenExpiresAt.After(expires) }, patience, time.Millisecond)
}

// A server from before renewals is left alone; when the token has expired the client comes back with another one.
func TestServerWithoutRenewal(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cfg := fast()
	cfg.GetToken = tokens()
	_, p := dialExpiring(t, s, cfg, 200*time.Millisecond)
	_, id := p.renew()
	p.send(refusal(id, parley.CodeUnknownKind, "", "", false, 0))
	p.silence(300 * time.Millisecond)
	p.close(clientv1.CloseCode_CLOSE_CODE_TOKEN_EXPIRED)
	_, hello := resume(t, s, "token-2")
	require.Equal(t, "jwt-3", hello.GetToken())
}

// A program that will have no token any more ends the client; other failures do not.
func TestNoTokenAnyMore(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cfg := fast()
	cause := errors.New("logged out")
	var calls atomic.Int64
	cfg.GetToken = func(context.Context) (string, error) {
		if calls.Add(1) == 1 {
			return "jwt", nil
		}
		return "", fmt.Errorf("%w: %w", parley.ErrNoToken, cause)
	}
	client, p := dialExpiring(t, s, cfg, 100*time.Millisecond)
	p.silence(200 * time.Millisecond)
	require.Equal(t, parley.Connected, client.State(), "until the server ends the connection")
	p.close(clientv1.CloseCode_CLOSE_CODE_TOKEN_EXPIRED)
	await(t, client.Done())
	var failed *parley.TokenError
	require.ErrorAs(t, client.Err(), &failed)
	require.ErrorIs(t, client.Err(), cause)

	cfg.GetToken = func(context.Context) (string, error) { return "", cause }
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := parley.Dial(ctx, s.url(), cfg)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorAs(t, err, &failed)
}
