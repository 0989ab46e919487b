package ws

import (
	"context"
	"net/http"
)

// Refusal says how a handshake is refused.
type Refusal struct {
	Status int
	// Text is what the client is told.
	Text string
	// Header is sent with it.
	Header http.Header
}

// Identify finds out from a handshake who asks: what it returns is what Who gives later; nil: it does not say. It is called before
// anything is allocated for the connection.
type Identify func(r *http.Request) (who any, refused *Refusal)

type whoKey struct{}

// Who returns what Identify has found out from the handshake of a connection; nil: nothing.
func Who(r *http.Request) any { return r.Context().Value(whoKey{}) }

// handshakeOnly keeps of a request what a handler may use later, without its body, its context and its credentials.
func handshakeOnly(r *http.Request, who any) *http.Request {
	r.Header.Del("Authorization")
	only := &http.Request{Method: r.Method, URL: r.URL, Host: r.Host, Header: r.Header, RemoteAddr: r.RemoteAddr}
	if who == nil {
		return only
	}
	return only.WithContext(context.WithValue(context.Background(), whoKey{}, who))
}
