// Package codec turns WebSocket messages of the client protocol into Envelopes and back.
//
// Two codecs exist, one per subprotocol: JSON (protojson with proto field names, in text messages) and Binary (protobuf, in
// binary messages). Both are stateless values, safe for concurrent use.
//
// Decoding never panics, is linear in the size of the frame and refuses deep nesting. A refused frame gives a
// *DecodeError with the code that the client is answered with and the frame's id if that was readable.
//
// Encoding is deterministic: equal Envelopes give equal bytes. The JSON is what protojson prints, without the spaces that
// it sprinkles at random to keep people from relying on its output.
package codec

import (
	"slices"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

// Subprotocols of the WebSocket handshake.
const (
	SubprotocolJSON   = "parley.v1.json"
	SubprotocolBinary = "parley.v1.proto"
)

// Codec is one encoding of Envelopes. Both implementations are usable as map keys and comparable.
type Codec interface {
	// Subprotocol is the name negotiated for this codec.
	Subprotocol() string
	// Text tells whether frames travel in WebSocket text messages; otherwise they are binary ones.
	Text() bool
	// Decode reads one frame. The Envelope shares no memory with frame and has a kind. Errors are *DecodeError.
	Decode(frame []byte) (*clientv1.Envelope, error)
	// Append appends the frame to dst and returns the longer slice. On an error it returns dst as it was; the only causes
	// are invalid UTF-8 in a string and a time out of range.
	Append(dst []byte, env *clientv1.Envelope) ([]byte, error)
}

// JSON is the codec of SubprotocolJSON.
type JSON struct{}

// Binary is the codec of SubprotocolBinary.
type Binary struct{}

var (
	_ Codec = JSON{}
	_ Codec = Binary{}
)

// Subprotocol returns SubprotocolJSON.
func (JSON) Subprotocol() string { return SubprotocolJSON }

// Text returns true.
func (JSON) Text() bool { return true }

// Decode is DecodeJSON.
func (JSON) Decode(frame []byte) (*clientv1.Envelope, error) { return DecodeJSON(frame) }

// Append is AppendJSON.
func (JSON) Append(dst []byte, env *clientv1.Envelope) ([]byte, error) { return AppendJSON(dst, env) }

// Subprotocol returns SubprotocolBinary.
func (Binary) Subprotocol() string { return SubprotocolBinary }

// Text returns false.
func (Binary) Text() bool { return false }

// Decode is DecodeBinary.
func (Binary) Decode(frame []byte) (*clientv1.Envelope, error) { return DecodeBinary(frame) }

// Append is AppendBinary.
func (Binary) Append(dst []byte, env *clientv1.Envelope) ([]byte, error) {
	return AppendBinary(dst, env)
}

// Negotiate picks the codec for the subprotocols that a client offers, in the client's order. supported are the codecs of
// the server; the first is what a client that offers nothing gets, and the handshake answer then names no subprotocol.
// false: the client offers only unknown ones and is refused with HTTP 400.
func Negotiate(offered []string, supported ...Codec) (Codec, bool) {
	if len(supported) == 0 {
		return nil, false
	}
	if len(offered) == 0 {
		return supported[0], true
	}
	for _, name := range offered {
		i := slices.IndexFunc(supported, func(c Codec) bool { return c.Subprotocol() == name })
		if i >= 0 {
			return supported[i], true
		}
	}
	return nil, false
}
