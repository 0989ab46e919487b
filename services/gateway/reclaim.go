package gateway

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"
)

const (
	// reclaimEvery is how often a node looks whether a herd has come in.
	reclaimEvery = 5 * time.Second
	// reclaimHerd is how many have to have come since the last time, and by which part of those who are here, for it to be worth a
	// collection of the heap.
	reclaimHerd = 500
	reclaimPart = 8
	// reclaimQuiet is how many may still come in a period when it is over.
	reclaimQuiet = 50
)

// reclaim says when to give back what opening connections took. Opening one leaves many times as much garbage as the connection
// keeps, and the collector lets it lie until as much again has come: while connections idle that is minutes, and what it frees then it
// keeps for the next herd.
type reclaim struct {
	seen uint64 // connections that had come when it was looked last
	done uint64 // … when memory was given back last
}

// due tells whether it is time, given how many connections have come in all, and how many are here.
func (r *reclaim) due(come uint64, here int) bool {
	lately := come - r.seen
	r.seen = come
	since := come - r.done
	if lately > reclaimQuiet || since < reclaimHerd || since < uint64(here)/reclaimPart {
		return false
	}
	r.done = come
	return true
}

// reclaimMemory collects the heap and gives it back to the system once a herd of connections is in, until ctx ends. It runs beside
// everything else, as any collection does.
func reclaimMemory(ctx context.Context, come func() uint64, here func() int, logger *slog.Logger) {
	tick := time.NewTicker(reclaimEvery)
	defer tick.Stop()
	var r reclaim
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !r.due(come(), here()) {
			continue
		}
		began := time.Now()
		debug.FreeOSMemory()
		logger.Debug("memory that newcomers took was given back", "connections", here(), "took", time.Since(began))
	}
}
