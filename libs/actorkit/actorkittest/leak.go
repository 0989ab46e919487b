package actorkittest

import "go.uber.org/goleak"

// LeakOptions names the goroutines that GoAkt leaves behind for every clustered system that was started, so that a leak
// test sees only ours: the cluster engine subscribes to its own notifications and never ends the subscription (three
// goroutines and a loopback connection, as long as the process lives). Everything else ends with Node.Stop.
func LeakOptions() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/tochemey/olric/internal/pubsub.(*pubSubConn).bgrunner"),
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9.(*channel).initMsgChan.func1"),
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9.(*channel).initHealthCheck.func1"),
	}
}
