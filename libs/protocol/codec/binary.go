package codec

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

var errTwoKinds = errors.New("more than one kind in a frame")

// AppendBinary appends the protobuf encoding of env to dst.
func AppendBinary(dst []byte, env *clientv1.Envelope) ([]byte, error) {
	out, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(dst, env)
	if err != nil {
		return dst, fmt.Errorf("encode frame: %w", err)
	}
	return out, nil
}

// DecodeBinary reads a protobuf frame. As in JSON a frame with two kinds, or one kind twice, is refused, where protobuf
// itself would take the last or merge them.
func DecodeBinary(frame []byte) (*clientv1.Envelope, error) {
	top, err := scanBinary(frame)
	if err != nil {
		return nil, badFrame(top.id, err)
	}
	env := &clientv1.Envelope{}
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(frame, env); err != nil {
		return nil, badFrame(top.id, err)
	}
	if env.GetKind() == nil {
		name := ""
		if top.unknown != 0 {
			name = fmt.Sprintf("field %d", top.unknown)
		}
		return nil, unknownKind(env.GetId(), name)
	}
	return env, nil
}

// binaryTop is what the top level of a frame shows.
type binaryTop struct {
	id      uint32
	unknown protowire.Number // the first unknown field; 0: none
}

// scanBinary walks the fields of the Envelope itself. On an error it returns what came before.
func scanBinary(frame []byte) (binaryTop, error) {
	var top binaryTop
	var kind bool
	fields := (*clientv1.Envelope)(nil).ProtoReflect().Descriptor().Fields()
	for len(frame) > 0 {
		num, typ, n := protowire.ConsumeTag(frame)
		if n < 0 {
			return top, protowire.ParseError(n)
		}
		frame = frame[n:]
		n = protowire.ConsumeFieldValue(num, typ, frame)
		if n < 0 {
			return top, protowire.ParseError(n)
		}
		switch fd := fields.ByNumber(num); {
		case fd == nil:
			if top.unknown == 0 {
				top.unknown = num
			}
		case fd.ContainingOneof() == nil:
			if id, m := protowire.ConsumeVarint(frame); num == 1 && typ == protowire.VarintType && m > 0 {
				top.id = uint32(id) // protobuf truncates an uint32 the same way
			}
		case kind:
			return top, errTwoKinds
		default:
			kind = true
		}
		frame = frame[n:]
	}
	return top, nil
}
