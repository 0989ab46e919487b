package bench

import "time"

// The scenarios with the sizes that their budgets are about. Whoever runs them may change sizes.

// Fanout is one room with one who publishes.
func Fanout() Scenario {
	return Scenario{
		Name: "fanout", Title: "fan-out, 1 room × 1,000, window 64", Rooms: 1, Connections: 1000, Publishers: 1, InFlight: 64, Window: 64,
		Unit: Deliveries, Budget: Budget{Ratio: 0.5, BareHubPerCPU: 4_000_000}, Payload: 128, Warmup: 2 * time.Second, Duration: 5 * time.Second,
	}
}

// FanoutAt is Fanout at a fixed rate of publishes per second, low enough that each leaves in a write of its own.
func FanoutAt() Scenario {
	s := Fanout()
	s.Title, s.Rate, s.Budget = "fan-out, 1 room × 1,000, 50 publishes/s", 50, Budget{Ratio: 0.85}
	return s
}

// Rooms is many rooms in which everybody publishes.
func Rooms() Scenario {
	return Scenario{
		Name: "rooms", Title: "500 rooms × 10, everybody publishes, 1,000 in flight", Rooms: 500, Connections: 5000, Publishers: 5000, InFlight: 1000, Window: 1,
		Unit: Deliveries, Budget: Budget{Ratio: 0.7}, Payload: 128, Warmup: 2 * time.Second, Duration: 5 * time.Second,
	}
}

// Publish is 64 who publish and wait, over so many rooms, with so many publishes of each in flight.
func Publish(rooms, window int) Scenario {
	s := Scenario{
		Name: "publish", Rooms: rooms, Connections: 64, Publishers: 64, InFlight: 64 * window, Window: window,
		Unit: Acknowledged, Payload: 128, Warmup: 2 * time.Second, Duration: 5 * time.Second,
	}
	switch {
	case rooms == 1:
		s.Title = "64 publish into 1 room that all are in"
	case window == 1:
		s.Title, s.Budget = "64 publish into 64 rooms", Budget{PerCPU: 20_000}
	default:
		s.Title, s.Budget = "64 publish into 64 rooms, 16 in flight each", Budget{PerCPU: 35_000}
	}
	return s
}

// IdleConnections is 10,000 connections, all in one room, or each in a room of its own: then what is weighed has 10,000 rooms in it,
// too, as long as one process is gateway and rooms node, and no budget says how much those may take.
func IdleConnections(rooms int) Scenario {
	s := Scenario{
		Name: "idle", Title: "10,000 idle connections in one room", Kind: Idle, Rooms: rooms, Connections: 10_000,
		Unit: Connects, Budget: Budget{KiB: 8}, Payload: 128, Warmup: 5 * time.Second, Duration: 15 * time.Second,
	}
	if rooms > 1 {
		s.Title, s.Budget = "10,000 idle connections and their 10,000 rooms", Budget{}
	}
	return s
}

// Comeback is 1,000 clients that come back at once, 1,000 messages behind, over so many rooms.
func Comeback(rooms int) Scenario {
	s := Scenario{
		Name: "recovery", Title: "1,000 come back to 1 room, 1,000 missed each", Kind: Recovery, Rooms: rooms, Connections: 1000, Missed: 1000,
		Unit: Recovered, Budget: Budget{PerCPU: 1_600_000}, Payload: 128,
	}
	if rooms > 1 {
		s.Title, s.Budget = "1,000 come back to 100 rooms, 1,000 missed each", Budget{}
	}
	return s
}

// Rush is 5,000 who connect at once.
func Rush() Scenario {
	return Scenario{
		Name: "storm", Title: "5,000 connect and join at once", Kind: Storm, Rooms: 100, Connections: 5000, Unit: Connects, Payload: 128,
	}
}

// All is every scenario that docs/benchmarks.md has a row of.
func All() []Scenario {
	return []Scenario{
		Fanout(), FanoutAt(), Rooms(), Publish(64, 1), Publish(64, 16), Publish(1, 1), Comeback(1), Comeback(100), IdleConnections(1), IdleConnections(10_000), Rush(),
	}
}
