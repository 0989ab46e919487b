package dcplane

import (
	"context"
	"fmt"
	"time"
)

// Defaults of the directory's clockwork. Everything in a deployment should use the same lease.
const (
	// DefaultLease is how long a node stays in the directory after its last renewal was seen.
	DefaultLease = 4 * time.Second
	// DefaultRefreshEvery is the period of the full replace that repairs whatever a watch missed.
	DefaultRefreshEvery = 10 * time.Second
	// DefaultMaxCacheStaleness is the Age up to which a directory calls itself Ready.
	DefaultMaxCacheStaleness = 30 * time.Second
)

// Directory is a node's view of all nodes of all DCs, kept in memory, and its way into the view of the others. All
// methods may be called from any goroutine.
//
// What it says is a hint. It may be late, and during an outage of the control plane it is as old as Age says; nothing
// may be unsafe because of that (see the package comment).
type Directory interface {
	// Register makes n visible to every directory and keeps it so until Deregister or Close: the record has a lease of
	// 4 s, is renewed every second in the background, and is written again by itself when the control plane lost it. It
	// returns once the record is stored; this directory's own cache shows it, like everybody's, some milliseconds later.
	// A record of the same node left by another incarnation is replaced at once.
	//
	// Errors: ErrInvalidNode; ErrAlreadyRegistered; ErrClosed; ErrUnavailable (with ctx's error) when the record was not
	// known to be stored before ctx ended, in which case it is not renewed and at worst is seen for one lease.
	Register(ctx context.Context, n Node) (Registration, error)

	// Nodes returns the live nodes of a service in a DC, sorted by name, starting and draining ones included. The slice
	// is the caller's. Never blocks.
	Nodes(dc, service string) []Node
	// Lookup returns one live node. Never blocks.
	Lookup(dc, service, name string) (Node, bool)
	// Changed returns a channel that is closed at the next change of what Nodes, Lookup or Ready answer. Take the channel
	// first, then read: a change after taking it always closes it. Renewals that change nothing do not count.
	Changed() <-chan struct{}

	// Age is the time since the cache was last known to be complete. While the control plane answers it stays below
	// about a second and a half; during an outage it grows and no node is removed.
	Age() time.Duration
	// Ready says that the cache was complete once and Age is at most MaxCacheStaleness (30 s).
	Ready() bool
	// Problem says why the directory is not Ready, for readiness checks and for people: since when, and what the control
	// plane or the way to it answered. Nil when it is Ready. It wraps ErrUnavailable.
	Problem() error
	// LastRefresh is the wall time of the last full replace, for display.
	LastRefresh() time.Time

	// Close deregisters what is still registered, as far as ctx allows, and stops everything the directory started. The
	// cache stays readable as it was. Further calls return nil.
	Close(ctx context.Context) error
}

// Registration is a node's record in the directory. All methods may be called from any goroutine.
type Registration interface {
	// Update publishes a new state and load and returns once they are stored. When it returns ErrUnavailable they are
	// not known to be stored, but they are what the next renewals write. Other errors: ErrInvalidNode (nothing changed),
	// ErrDeregistered, ErrSuperseded, ErrClosed.
	Update(ctx context.Context, state NodeState, load float64) error
	// Deregister removes the record at once and stops renewing it. It is idempotent. On ErrUnavailable the record is no
	// longer renewed and disappears with its lease.
	Deregister(ctx context.Context) error
	// Lost delivers one *SupersededError when a process that registered later took the node's name, and is then closed.
	// It is closed without an error by Deregister and Close. An outage of the control plane is not a loss.
	Lost() <-chan error
}

// AwaitReady waits until d is Ready. When ctx ends first the error wraps ErrUnavailable, ctx's error and d's Problem.
func AwaitReady(ctx context.Context, d Directory) error {
	for {
		changed := d.Changed()
		if d.Problem() == nil {
			return nil
		}
		select {
		case <-changed:
			continue
		case <-ctx.Done():
		}
		if problem := d.Problem(); problem != nil {
			return fmt.Errorf("%w: %w", problem, ctx.Err())
		}
		return nil
	}
}
