// Package persistencetest defines what a persistence backend is, as tests, and helps to test code above one.
//
// Exercise runs the conformance suite over a backend. A backend's own test package calls it:
//
//	func TestConformance(t *testing.T) {
//		persistencetest.Exercise(t, persistencetest.Options{Open: openStore})
//	}
//
// It covers the journal, the feed with its checkpoints, retention, restore, sessions and leases, concurrency up to ten
// thousand streams that are claimed and recovered at once, crashes, and random commands against a model.
//
// History collects what the users of a store were told and checks the store against it, by the invariants I1 to I7: for
// tests that kill processes and cut connections, where no model can know what has happened.
//
// Faulty wraps a real backend and makes chosen calls fail, wait, or lose their answer, so that callers can be tested
// against every error of the contract.
package persistencetest
