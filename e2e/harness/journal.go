package harness

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// Journal is a kind of store that a server keeps its events in.
type Journal string

// The journals. Whatever a server promises, it promises on each of them.
const (
	// SQLite is a file in the server's data directory.
	SQLite Journal = "sqlite"
	// Postgres is a schema in a cluster that this test process has for itself.
	Postgres Journal = "postgres"
)

// Journals are all there are, for tests that run on each.
func Journals() []Journal { return []Journal{SQLite, Postgres} }

var schemas atomic.Int64

// arguments make a server keep its events in an empty journal of this kind.
func (j Journal) arguments() ([]string, error) {
	switch j {
	case SQLite:
		return nil, nil
	case Postgres:
		url, err := cluster()
		if err != nil {
			return nil, err
		}
		return []string{"--journal", fmt.Sprintf("%s&search_path=server_%d", url, schemas.Add(1))}, nil
	default:
		return nil, fmt.Errorf("unknown journal %q", j)
	}
}

// held keeps the shared cluster's input open as long as this process lives.
var held *clusterCommand

// cluster starts the Postgres that tests share with the first call and returns its URL.
var cluster = sync.OnceValues(func() (url string, err error) {
	if held, err = startCluster(); err != nil {
		return "", err
	}
	return held.url, nil
})
