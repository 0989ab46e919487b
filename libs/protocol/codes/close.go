package codes

import clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"

const closePrefix = "CLOSE_CODE_"

// Close codes of RFC 6455 and its registry that a Parley server sends where they fit.
const (
	CloseGoingAway       = 1001 // the server process stops
	CloseProtocolError   = 1002 // a WebSocket frame broke RFC 6455
	CloseUnsupportedData = 1003 // text where the subprotocol has binary, or the other way round
	CloseInvalidPayload  = 1007 // text that is not UTF-8
	ClosePolicyViolation = 1008
	CloseTooBig          = 1009 // a message over the server's limit
)

// First and last code of the two classes of Parley's own close codes.
const (
	reconnectFirst = 4000
	reconnectLast  = 4499
	terminalLast   = 4999
)

// Closes lists Parley's own close codes in ascending order.
func Closes() []clientv1.CloseCode {
	return values[clientv1.CloseCode](clientv1.CloseCode(0).Descriptor())
}

// CloseName returns the bare name that is the close frame's reason text and Reconnect.reason: "DRAIN". It is empty for
// UNSPECIFIED and unknown values.
func CloseName(c clientv1.CloseCode) string { return bareName(c.Descriptor(), c.Number(), closePrefix) }

// ParseClose is the inverse of CloseName.
func ParseClose(name string) (clientv1.CloseCode, bool) {
	n, ok := clientv1.CloseCode_value[closePrefix+name]
	return clientv1.CloseCode(n), ok && n != 0
}

// Reconnect tells whether a client should connect again, with backoff, after the server closed with this code. It knows
// codes it has no name for by their class, so that an old client obeys a new server.
//
// Of the standard codes only those say no that blame what the client sent: it would send the same again. That includes
// 1009, whose cause is a single message; repeating it would loop.
func Reconnect(code int) bool {
	switch code {
	case CloseProtocolError, CloseUnsupportedData, CloseInvalidPayload, ClosePolicyViolation, CloseTooBig, 1010:
		return false
	default:
		return code <= reconnectLast || code > terminalLast
	}
}

// CloseMeaning is one sentence for documentation and tools, for Parley's codes and the standard ones it uses.
func CloseMeaning(code int) string {
	switch code {
	case CloseGoingAway:
		return "The server process stops."
	case CloseProtocolError:
		return "A WebSocket frame broke RFC 6455."
	case CloseUnsupportedData:
		return "Text where the subprotocol has binary messages, or the other way round."
	case CloseInvalidPayload:
		return "A text message is not UTF-8."
	case ClosePolicyViolation:
		return "The connection broke a rule that has no code of its own."
	case CloseTooBig:
		return "A message is larger than the server accepts."
	}
	switch clientv1.CloseCode(code) {
	case clientv1.CloseCode_CLOSE_CODE_DRAIN:
		return "The node is being drained; another one takes over."
	case clientv1.CloseCode_CLOSE_CODE_SLOW:
		return "The client read too slowly and its queue overflowed; nothing is lost, resume continues."
	case clientv1.CloseCode_CLOSE_CODE_OVERLOADED:
		return "The node sheds load."
	case clientv1.CloseCode_CLOSE_CODE_TOKEN_EXPIRED:
		return "The authentication token expired; connect again with a new one."
	case clientv1.CloseCode_CLOSE_CODE_INTERNAL:
		return "The server failed, or could not look the session up."
	case clientv1.CloseCode_CLOSE_CODE_UNAUTHENTICATED:
		return "The authentication token is invalid."
	case clientv1.CloseCode_CLOSE_CODE_AUTH_TIMEOUT:
		return "No authentication within the time for it."
	case clientv1.CloseCode_CLOSE_CODE_BANNED:
		return "The member may not connect."
	case clientv1.CloseCode_CLOSE_CODE_SESSION_REPLACED:
		return "A newer connection resumed the session."
	case clientv1.CloseCode_CLOSE_CODE_ABUSE:
		return "The connection kept breaking rules after errors told it so."
	default:
		return ""
	}
}
