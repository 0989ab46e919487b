package actorkittest

import "go.uber.org/goleak"

// LeakOptions names the goroutines that GoAkt leaves behind for every system that was started, as long as the process
// lives, so that a leak test sees only ours. A clustered system subscribes to its engine's own notifications and never
// ends the subscription: three goroutines and a loopback connection. With TLS, gossip that arrives while a node stops waits for
// ever for somebody to take it. A probe of gossip that was under way ends seconds later by itself. The engine goes on dialing a member that
// left while something was asked of it. A local one starts the drain of a queue that only
// systems with remoting stop. Everything else ends with Node.Stop and the system's Stop.
func LeakOptions() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/tochemey/olric/internal/pubsub.(*pubSubConn).bgrunner"),
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9.(*channel).initMsgChan.func1"),
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9.(*channel).initHealthCheck.func1"),
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"),
		goleak.IgnoreTopFunction("github.com/tochemey/goakt/v4/internal/memberlist.(*Transport).handleConnection"),
		goleak.IgnoreTopFunction("github.com/tochemey/goakt/v4/actor.(*actorSystem).drainCoalescedFailures"),
	}
}
