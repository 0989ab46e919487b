// Package api serves administrators and servers: parley.admin.v1 over Connect, gRPC and gRPC-Web, on HTTP/1.1 and HTTP/2
// without TLS.
//
//	request ─► authenticate ─► a place among those in flight ─► read and decode ─► check ─► ask the room ─► answer
//
// Nothing of a request's body is read before it is authenticated and has a place. Whichever node runs the room, package ask
// finds it. The handlers translate between the API's messages and the frames of rooms, and errors.go is the only place where
// errors become codes.
//
// Bounds: MaxInFlight requests at a time, MaxRequestBytes each, Within for all of one; what does not fit is refused with when
// to try again. Stop lets those in flight finish.
package api
