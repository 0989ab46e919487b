package ratelimit

import (
	"context"
	"errors"
	"time"
)

var (
	// ErrAway says that a store cannot be asked now.
	ErrAway = errors.New("rate limit store is away")
	// ErrLate says that a store found a request too old to be carried out: the sender has given it up. Nothing was done.
	ErrLate = errors.New("rate limit store got the request too late")
)

// Active is how long a node counts as one of those that use a key after it last reported, and how long its lease of a share is.
const Active = 500 * time.Millisecond

// Store keeps what all nodes together have used. It knows neither limits nor units: everything is the time that it takes to be
// regained. Times are the store's own clock's. Implementations are safe for concurrent use; every method ends when ctx does, with
// an error, and then what was asked may or may not have been done, except that it is not done after ctx's deadline.
type Store interface {
	// Sync adds what a node has used of keys and says how each stands, in the same order. A node that reports a key is one of
	// those that use it for Active. With an error, the views are those of the first reports, which are done.
	Sync(ctx context.Context, node string, reports []Report) ([]View, error)
	// Take is a decision about one key: it takes costs if none is then further ahead than its depth, and says ok; or else it
	// takes nothing and says after how long it would.
	Take(ctx context.Context, key string, costs, depths [2]time.Duration) (after time.Duration, ok bool, err error)
	// Ping asks whether the store is there.
	Ping(ctx context.Context) error
	// Close lets go of the store. Nothing else may be under way.
	Close() error
}

// Report is what a node has used of a key since its last one.
type Report struct {
	Key string
	// Used is to be added.
	Used [2]time.Duration
	// Most is how far ahead the key is kept at most.
	Most [2]time.Duration
}

// View is how a key stands.
type View struct {
	// Ahead is how long everything used takes to be regained.
	Ahead [2]time.Duration
	// Nodes use the key, the one that asked included.
	Nodes int
}
