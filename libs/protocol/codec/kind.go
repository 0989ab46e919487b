package codec

import clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"

// Kind returns the name of the frame's kind as it is on the wire: "join_room". It is empty for a frame without one.
func Kind(env *clientv1.Envelope) string {
	m := env.ProtoReflect()
	fd := m.WhichOneof(m.Descriptor().Oneofs().ByName("kind"))
	if fd == nil {
		return ""
	}
	return string(fd.Name())
}

// FromClient tells whether clients may send frames of this kind. A server answers the other ones with UNKNOWN_KIND.
func FromClient(env *clientv1.Envelope) bool {
	switch env.GetKind().(type) {
	case *clientv1.Envelope_Hello, *clientv1.Envelope_JoinRoom, *clientv1.Envelope_LeaveRoom, *clientv1.Envelope_Message,
		*clientv1.Envelope_Signal, *clientv1.Envelope_History, *clientv1.Envelope_Presence, *clientv1.Envelope_Ping,
		*clientv1.Envelope_Renew:
		return true
	default:
		return false
	}
}

// UnknownKind is the refusal of a decoded frame whose kind only servers send.
func UnknownKind(env *clientv1.Envelope) *DecodeError { return unknownKind(env.GetId(), Kind(env)) }
