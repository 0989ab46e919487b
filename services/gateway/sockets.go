package gateway

import (
	"errors"
	"fmt"
)

const (
	// defaultConnections is how many connections are let in, where there are files enough.
	defaultConnections = 100_000
	// mostHandshakes are the sockets whose request is awaited or answered, mostWaiting those that wait for their turn at the entrance.
	mostHandshakes, mostWaiting = 4096, 8192
	// otherFiles are for the journal, the control plane, other nodes and what the program reads.
	otherFiles = 256
)

// sockets is how many of each kind a node holds at most. Together they are its share of open files.
type sockets struct {
	connections, handshakes, waiting, refusals int
}

var errFiles = errors.New("more sockets than this process may have open files: raise its limit (ulimit -n, LimitNOFILE=) or lower PARLEY_MAX_CONNECTIONS")

// planSockets shares out the files that the process may have open; connections is the wanted number, 0: what there is room for.
// pace is how many newcomers are let in at most, a second.
func planSockets(files uint64, connections, pace int) (sockets, error) {
	part := func(most, of int) int {
		return max(burst, int(min(uint64(most), files/uint64(of))))
	}
	s := sockets{
		handshakes: part(mostHandshakes, 8),
		waiting:    part(min(mostWaiting, int(float64(pace)*waitAtMost.Seconds())), 8),
		refusals:   part(mostRefusals, 16),
	}
	others := uint64(s.handshakes + s.waiting + s.refusals + otherFiles)
	if s.connections = connections; connections == 0 {
		s.connections = defaultConnections
		if files < others+defaultConnections {
			s.connections = int(max(others+1, files) - others)
		}
	}
	if need := uint64(s.connections) + others; need > files {
		return s, fmt.Errorf("%w: %d connections take %d, the limit is %d", errFiles, s.connections, need, files)
	}
	return s, nil
}
