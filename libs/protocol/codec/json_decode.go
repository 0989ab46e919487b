package codec

import (
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoregistry"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

// maxDepth bounds the nesting of objects and arrays, in unknown fields too. The deepest known frame, a history page with
// times, needs 4.
const maxDepth = 32

// protojsonDecode holds the rules of DecodeJSON. The empty resolver makes names in brackets plain unknown fields whatever
// extensions the program links in.
func protojsonDecode(frame []byte, env *clientv1.Envelope) error {
	return protojson.UnmarshalOptions{
		DiscardUnknown: true,
		RecursionLimit: maxDepth,
		Resolver:       (*protoregistry.Types)(nil),
	}.Unmarshal(frame, env)
}

// DecodeJSON reads a JSON frame by protojson's rules: proto field names and lowerCamelCase ones, 64-bit integers as
// strings or numbers, null as absent, unknown fields ignored, duplicate fields and two kinds refused.
func DecodeJSON(frame []byte) (*clientv1.Envelope, error) {
	if env := decodeFrequent(frame); env != nil {
		return env, nil
	}
	env := &clientv1.Envelope{}
	if err := protojsonDecode(frame, env); err != nil {
		top := scanJSON(frame)
		return nil, badFrame(top.id, err)
	}
	if env.GetKind() == nil {
		top := scanJSON(frame)
		return nil, unknownKind(env.GetId(), top.other)
	}
	return env, nil
}
