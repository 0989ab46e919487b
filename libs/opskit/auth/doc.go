// Package auth checks and makes the bearer tokens by which callers prove who they are: JSON Web Tokens signed with
// HMAC-SHA256.
//
// # Usage
//
//	verifier, err := auth.NewVerifier(cfg, time.Now)
//	token, ok := auth.Bearer(request.Header.Get("Authorization"))
//	principal, err := verifier.Verify(token)
//	if !principal.Has(auth.ScopeAdmin) { … }
//
// A token must be signed with the configured secret, name no algorithm but HS256, carry an exp that has not passed and no
// nbf still to come (give or take ClockSkew), and the issuer and audience that are configured. What its owner may do is
// in the claim scope, words separated by spaces (RFC 8693).
//
// # Failure
//
// Every refusal is a *RefusedError with a Reason for metrics and logs. Neither it nor anything else here ever shows a
// token or the secret. Callers of an API are to be told one and the same thing whatever the reason.
//
// # Concurrency
//
// A Verifier is safe for concurrent use; the rest are pure functions.
package auth
