// Package redistest starts private Redis servers for tests: real processes, which can be killed, frozen and started again, with
// replicas that can take over.
//
// It needs redis-server on PATH, and says how to get it. A server does not outlive the process that started it, however that ends.
package redistest
