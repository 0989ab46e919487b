package document

import (
	"encoding/json"
	"fmt"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/internal/engine"
)

// recordVersion is raised when a reader of the old version would misread the new one. New optional fields do not.
const recordVersion = 1

// MaxBytes is above what the longest valid node needs, escapes included.
const MaxBytes = 16 << 10

// document is the JSON form of a record.
type document struct {
	V            int               `json:"v"`
	Claim        uint64            `json:"claim"`
	Incarnation  string            `json:"incarnation"`
	DC           string            `json:"dc"`
	Service      string            `json:"service"`
	Node         string            `json:"node"`
	Region       string            `json:"region,omitempty"`
	Host         string            `json:"host"`
	RemotingPort int               `json:"remoting_port"`
	State        dcplane.NodeState `json:"state"`
	Load         float64           `json:"load"`
	Version      string            `json:"version,omitempty"`
}

// Encode writes a record.
func Encode(r engine.Record) ([]byte, error) {
	n := r.Node
	return json.Marshal(document{
		V: recordVersion, Claim: r.Claim, Incarnation: n.Incarnation, DC: n.DC, Service: n.Service, Node: n.Name,
		Region: n.Region, Host: n.Host, RemotingPort: n.RemotingPort, State: n.State, Load: n.Load, Version: n.Version,
	})
}

// Decode reads the record stored under key. With an error the record still has the claim and incarnation, as far
// as they could be read: they decide who owns the key, whoever wrote the rest.
func Decode(key dcplane.Key, value []byte) (engine.Record, error) {
	var d document
	if err := json.Unmarshal(value, &d); err != nil {
		return engine.Record{}, fmt.Errorf("decode record of node %s: %w", key, err)
	}
	owner := engine.Record{Claim: d.Claim, Node: dcplane.Node{Incarnation: d.Incarnation}}
	if d.V != recordVersion {
		return owner, fmt.Errorf("decode record of node %s: version %d is not %d", key, d.V, recordVersion)
	}
	n := dcplane.Node{
		Service: d.Service, DC: d.DC, Region: d.Region, Name: d.Node, Incarnation: d.Incarnation,
		Host: d.Host, RemotingPort: d.RemotingPort, State: d.State, Load: d.Load, Version: d.Version,
	}
	if n.Key() != key {
		return owner, fmt.Errorf("decode record of node %s: it describes %s", key, n.Key())
	}
	if err := n.Validate(); err != nil {
		return owner, fmt.Errorf("decode record of node %s: %w", key, err)
	}
	return engine.Record{Node: n, Claim: d.Claim}, nil
}
