// Package auth checks and makes the bearer tokens by which callers prove who they are: signed JSON Web Tokens.
//
// # Usage
//
//	verifier, err := auth.NewVerifier(cfg, auth.Deps{…})
//	go verifier.Run(ctx) // fetches keys, if any are to be fetched
//	token, ok := auth.Bearer(request.Header.Get("Authorization"))
//	principal, err := verifier.Verify(ctx, token)
//	if !principal.Has(auth.ScopeAdmin) { … }
//	if !principal.Rooms.May(auth.Join, "room-1") { … }
//
// A token must be signed with a configured secret (HS256) or with a key that the issuer publishes (RS256 or PS256 with RSA,
// ES256 with P-256, ES384 with P-384, EdDSA with Ed25519), carry an exp that has not passed and no nbf still to come (give or
// take ClockSkew), and the issuer and audience that are configured. What a signature is checked with follows from the key, never
// from what the token says about itself: a public key is no secret, and "none" is no algorithm.
//
// What its owner may do is in the claim scope, words separated by spaces (RFC 8693), and in the claim rooms: see Grants.
//
// # Failure
//
// Every refusal is a *RefusedError with a Reason for metrics and logs. ErrKeys says that nobody can tell: the keys cannot be had
// now. Neither they nor anything else here ever shows a token or a secret.
//
// # Keys
//
// Run fetches the issuer's keys, again every JWKSRefresh, and at once when a token names a key that is not known, but at most
// every 5 s however many such tokens come. While the issuer is away or answers nonsense the last good keys stay in use.
//
// # Concurrency
//
// A Verifier is safe for concurrent use; the rest are pure functions.
package auth
