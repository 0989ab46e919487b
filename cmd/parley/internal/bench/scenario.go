package bench

import (
	"errors"
	"fmt"
	"time"
)

// Scenario says what a server is loaded with. Connections are spread evenly over the rooms.
type Scenario struct {
	// Name is the command's, Title what is done in a few words.
	Name, Title string
	Kind        Kind
	Rooms       int
	Connections int
	// Publishers of the connections publish; the others only receive.
	Publishers int
	// InFlight is how many publishes are unacknowledged at a time over all publishers, who take turns (closed loop). Window is
	// how many of one publisher are at most.
	InFlight, Window int
	// Rate, if set, is publishes per second over all publishers (open loop): each is timed from when it was due, so that a
	// stalled server is charged for the publishes it held up.
	Rate float64
	// Missed is how many messages of their room those who come back have missed.
	Missed  int
	Payload int
	// Warmup is load that is not counted. Duration is how long is counted, and how long idle connections are watched.
	Warmup, Duration time.Duration
	// TLS: connections are encrypted (idle connections only).
	TLS bool
	// Unit is the work that CPU time is divided by.
	Unit Unit
	// Budget is the least ratio to the bare hub, or the least work per CPU second, or the most KiB per connection.
	Budget Budget
	// run is part of the rooms' names: a journal may have those of an earlier run.
	run string
}

// Kind is the shape of a scenario.
type Kind int

// Kinds.
const (
	// Traffic publishes and delivers for some time.
	Traffic Kind = iota
	// Idle opens connections that do nothing, and weighs them.
	Idle
	// Recovery opens connections at once that have each missed messages.
	Recovery
	// Storm opens connections at once.
	Storm
)

// Unit is what a server does.
type Unit string

// Units.
const (
	Deliveries   Unit = "deliveries"
	Acknowledged Unit = "acknowledged publishes"
	Recovered    Unit = "messages recovered"
	Connects     Unit = "connections opened and joined"
)

// Budget is what a scenario is to reach. Zero fields do not count.
type Budget struct {
	Ratio  float64 `json:"ratio_to_bare_hub,omitempty"`
	PerCPU float64 `json:"per_server_cpu_second,omitempty"`
	KiB    float64 `json:"kib_per_connection,omitempty"`
	// BareHubPerCPU is what the bare hub has to reach for Ratio to count.
	BareHubPerCPU float64 `json:"bare_hub_per_cpu_second,omitempty"`
}

// maxWindow bounds the publishes in flight whose times are kept.
const maxWindow = 4096

// Validate returns all problems of the scenario joined.
func (s Scenario) Validate() error {
	var problems []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	check(s.Rooms > 0 && s.Connections >= s.Rooms, "at least one room, and a connection for each")
	check(s.Payload >= stampBytes && s.Payload <= 32<<10, "a payload of %d to %d bytes", stampBytes, 32<<10)
	check(s.Duration > 0 || s.Kind == Recovery || s.Kind == Storm, "a duration")
	check(!s.TLS || s.Kind == Idle, "encrypted connections only idle")
	switch s.Kind {
	case Traffic:
		check(s.Publishers > 0 && s.Publishers <= s.Connections, "between one publisher and one per connection")
		check(s.Window > 0 && s.Window <= maxWindow, "a window of 1 to %d", maxWindow)
		check(s.InFlight > 0 && s.InFlight <= s.Window*s.Publishers, "between one publish in flight and as many as the windows of all publishers")
		check(s.Rate >= 0, "a rate above 0")
	case Recovery:
		check(s.Missed > 0, "at least one missed message")
	}
	return errors.Join(problems...)
}
