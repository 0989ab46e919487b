// Package persistencetest defines what a persistence backend is, as tests, and helps to test code above one.
//
// Exercise runs the conformance suite over a backend. A backend's own test package calls it:
//
//	func TestConformance(t *testing.T) {
//		persistencetest.Exercise(t, persistencetest.Options{Open: openStore})
//	}
//
// Faulty wraps a real backend and makes chosen calls fail, wait, or lose their answer, so that callers can be tested
// against every error of the contract.
package persistencetest
