package persistence

import (
	"context"
	"errors"
	"fmt"
)

// peekTries is how often Peek reads again because the stream's writer was faster.
const peekTries = 4

// Peek reads what rebuilds a stream's state at its present head without claiming it, for somebody who is about to become
// its writer and wants to have done most of the reading by then. The writer goes on meanwhile, so the state is one of the
// past, and the head may be one that a failover takes back: whoever claims later compares Incarnation and LastSeq. A stream
// never claimed gives a head with Epoch 0 and nothing to recover.
//
// Errors are those of Head and Recover.
func Peek(ctx context.Context, j Journal, key StreamKey) (Head, Recovery, error) {
	var problem error
	for range peekTries {
		h, err := j.Head(ctx, key)
		if err != nil || h.Epoch == 0 {
			return h, Recovery{}, err
		}
		// The claim is of the writer's epoch and could write: it does not leave this function.
		rec, err := j.Recover(ctx, Claim{
			Key: key, StreamID: h.StreamID, Epoch: h.Epoch, Incarnation: h.Incarnation,
			LastSeq: h.LastSeq, SnapSeq: h.SnapSeq, TrimSeq: h.TrimSeq, SnapPart: h.SnapPart,
		})
		if err == nil {
			return h, rec, nil
		}
		problem = err
		// The writer may have saved snapshots or trimmed since: the ones that lead to this head are gone then.
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTrimmed) {
			break
		}
	}
	return Head{}, Recovery{}, fmt.Errorf("peek at stream %s: %w", key, problem)
}
