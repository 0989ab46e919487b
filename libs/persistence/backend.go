package persistence

import "context"

// Backend is everything one store offers: postgres, sqlite, memory. persistencetest.Exercise is its definition.
type Backend interface {
	Journal
	Feed
	Maintenance
	SessionStore
	LeaseStore
	BlockStore

	// Ping proves that the backend takes writes.
	Ping(ctx context.Context) error
	// Close refuses new work with ErrClosed, finishes what was accepted and frees everything. Bounded by ctx.
	Close(ctx context.Context) error
}
