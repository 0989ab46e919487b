// Package memory is a control plane inside one process, for tests: several directories opened on one Plane see each
// other exactly as processes sharing a real control plane would.
//
// It runs the same code as every other backend, over a map instead of a server, and adds what tests need: the plane can
// be made to stop answering, to lose its content and to drop its watches, and a directory can crash.
//
// With NewPlane everything happens in real time. With NewManualPlane nothing happens by itself: Advance moves the clock
// and does, in order and before it returns, everything that becomes due, so a lease of seconds can be tested in
// microseconds and always with the same result.
package memory
