// Package engine is the shell around dcplane.Cache that all backends share: it keeps registrations renewed, feeds the
// cache, wakes waiters, logs and counts. A backend only implements Store, so that every control plane behaves alike.
//
// Goroutines: one loop per Directory (lease tick, refresh) and one per registration. Both end with Close or Abandon. In
// manual mode there are none and the owner calls Step.
package engine
