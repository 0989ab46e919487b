// Package adminapi serves a Connect service to administrators: over Connect, gRPC and gRPC-Web, on HTTP/1.1 and HTTP/2 without
// TLS. What services do is theirs; this is what all of them have around their handlers.
//
//	request ─► authenticate ─► a place among those in flight ─► read and decode ─► handler ─► answer or Verdict
//
// Nothing of a request's body is read before it is authenticated and has a place. Errors of handlers become codes in one place,
// the service's Judge; what it does not know is internal, and its text is not shown.
//
// Bounds: MaxInFlight requests at a time, MaxRequestBytes each, Within for all of one; what does not fit is refused with when
// to try again. Stop lets those in flight finish.
package adminapi
