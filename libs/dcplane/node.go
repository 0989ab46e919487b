package dcplane

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// NodeState says what a node wants to be used for. It is the node's own statement: others never write it.
type NodeState string

const (
	// StateStarting is a node that is reachable but must not get work yet.
	StateStarting NodeState = "starting"
	// StateReady is a node that takes work.
	StateReady NodeState = "ready"
	// StateDraining is a node that finishes what it has and must not get new work.
	StateDraining NodeState = "draining"
)

// Valid says whether s is one of the three states.
func (s NodeState) Valid() bool {
	return s == StateStarting || s == StateReady || s == StateDraining
}

// Limits of the text fields of a Node, in bytes. They keep a record far below what any control plane refuses.
const (
	MaxNameBytes = 128
	MaxHostBytes = 255
)

// Node is one process as it describes itself to the others. It is a plain value: copy it freely.
type Node struct {
	Service string // gateway, rooms, scheduler
	DC      string
	Region  string // may be empty
	// Name is unique among the nodes of one service in one DC and survives restarts of the process.
	Name string
	// Incarnation is random per process life: a record with another incarnation describes another process.
	Incarnation string
	// Host and RemotingPort are where the node's actor remoting listens.
	Host         string
	RemotingPort int
	State        NodeState
	// Load is the node's own measure of how full it is, 0 (idle) to 1 (full); it may exceed 1.
	Load    float64
	Version string // of the software; may be empty
}

// Key is the identity of a node in the directory.
func (n Node) Key() Key {
	return Key{DC: n.DC, Service: n.Service, Name: n.Name}
}

// Validate reports every problem of n at once, each naming its field; the result wraps ErrInvalidNode.
func (n Node) Validate() error {
	var problems []error
	text := func(field, value string, required bool, limit int) {
		switch {
		case required && value == "":
			problems = append(problems, fmt.Errorf("%s is empty", field))
		case len(value) > limit:
			problems = append(problems, fmt.Errorf("%s has %d bytes, the limit is %d", field, len(value), limit))
		case !utf8.ValidString(value):
			problems = append(problems, fmt.Errorf("%s is not valid UTF-8: %q", field, value))
		}
	}
	text("service", n.Service, true, MaxNameBytes)
	text("dc", n.DC, true, MaxNameBytes)
	text("region", n.Region, false, MaxNameBytes)
	text("name", n.Name, true, MaxNameBytes)
	text("incarnation", n.Incarnation, true, MaxNameBytes)
	text("host", n.Host, true, MaxHostBytes)
	text("version", n.Version, false, MaxNameBytes)
	if n.RemotingPort < 1 || n.RemotingPort > math.MaxUint16 {
		problems = append(problems, fmt.Errorf("remoting port %d is not in 1–65535", n.RemotingPort))
	}
	if err := validateStatus(n.State, n.Load); err != nil {
		problems = append(problems, err)
	}
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInvalidNode, errors.Join(problems...))
}

// validateStatus checks the two fields that Registration.Update changes.
func validateStatus(state NodeState, load float64) error {
	var problems []error
	if !state.Valid() {
		problems = append(problems, fmt.Errorf("state %q is none of starting, ready, draining", string(state)))
	}
	if math.IsNaN(load) || math.IsInf(load, 0) || load < 0 {
		problems = append(problems, fmt.Errorf("load %v is not a finite number >= 0", load))
	}
	return errors.Join(problems...)
}

// Key names a node in the directory. Its parts are arbitrary text; comparing two keys compares the parts bytewise, so
// ("a", "bc") and ("ab", "c") are different keys.
type Key struct {
	DC, Service, Name string
}

// String is for logs and errors only; it is not unique.
func (k Key) String() string {
	return fmt.Sprintf("%s/%s/%s", k.DC, k.Service, k.Name)
}
