package ask

import (
	"errors"
	"fmt"
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codes"
)

var (
	// ErrUnreachable says that no node took the question before the deadline: nothing has happened.
	ErrUnreachable = errors.New("no rooms node could be reached")
	// ErrUnanswered says that the question left this node and no answer came before the deadline: it may have been
	// carried out, or may yet be. Asking again is harmless.
	ErrUnanswered = errors.New("the room did not answer in time")
)

// RefusedError is the room's own refusal.
type RefusedError struct {
	Code       clientv1.ErrorCode
	Message    string
	RetryAfter time.Duration
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("refused: %s: %s", codes.ErrorName(e.Code), e.Message)
}

// passing refusals are those of a room that is changing hands: the question is put again while there is time.
func (e *RefusedError) passing() bool {
	return e.Code == clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE || e.Code == clientv1.ErrorCode_ERROR_CODE_UNKNOWN_OUTCOME
}
