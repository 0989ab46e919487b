//go:build linux

package bench

import (
	"fmt"
	"syscall"
	"time"
)

// measurement is what was so far when counting began.
type measurement struct {
	at                                       time.Time
	server, database                         usage
	client, busy                             time.Duration
	acked, delivered, refused, gaps, retries uint64
}

func begin(g *generator, srv *server) (measurement, error) {
	m := measurement{at: time.Now(), busy: g.busy, acked: g.acked, delivered: g.delivered, refused: g.refused, gaps: g.gaps, retries: g.retries}
	var err error
	if m.server, err = processUsage(srv.pid); err != nil {
		return m, err
	}
	if m.database, err = srv.databaseUsage(); err != nil {
		return m, err
	}
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		return m, fmt.Errorf("read own usage: %w", err)
	}
	m.client = time.Duration(own.Utime.Nano() + own.Stime.Nano())
	return m, nil
}

// end returns what has happened since.
func (m measurement) end(g *generator, srv *server) (Result, error) {
	now, err := begin(g, srv)
	if err != nil {
		return Result{}, err
	}
	r := Result{
		Seconds:            now.at.Sub(m.at).Seconds(),
		ServerCPUSeconds:   (now.server.cpu - m.server.cpu).Seconds(),
		DatabaseCPUSeconds: (now.database.cpu - m.database.cpu).Seconds(),
		ClientCPUSeconds:   (now.client - m.client).Seconds(),
		ServerResidentMiB:  float64(now.server.residentBytes) / (1 << 20),
		Published:          now.acked - m.acked,
		Delivered:          now.delivered - m.delivered,
		Refused:            now.refused - m.refused,
		Gaps:               now.gaps, // also those before: they are faults at any time
		Retries:            now.retries - m.retries,
	}
	r.ClientBusy = (now.busy - m.busy).Seconds() / max(r.Seconds, 1e-9)
	r.ClientBound = r.ClientBusy > 0.9
	return r, nil
}
