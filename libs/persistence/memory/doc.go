// Package memory is a persistence backend that forgets everything with the process.
//
// It serves tests of code above the journal. Its semantics are those of every backend, proven by the same conformance
// suite; what it has no use for (a queue, a disk) it cannot show, so ErrOverloaded and ErrUnknown never come from it: wrap
// it with persistencetest.Faulty for those. Everything stored and returned is a copy.
//
// A Backend is safe for concurrent use: one lock makes every call atomic. It starts no goroutine.
package memory
