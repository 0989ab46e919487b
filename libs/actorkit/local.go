package actorkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tochemey/goakt/v4/actor"
	"github.com/tochemey/goakt/v4/extension"
	"github.com/tochemey/goakt/v4/supervisor"
)

const (
	// localInitTimeout is how long GoAkt waits for a new actor to answer its first message.
	localInitTimeout = 30 * time.Second
	// localThroughput is how many messages an actor handles before it lets others run.
	localThroughput = 64
)

// StartLocal starts a non-clustered system with house defaults: PreStart runs once, without
// GoAkt's retries. GoAkt's warnings go to logger (nil: nowhere), each at most once a second. Stop it with its own Stop,
// whose duration is bounded by 20 s. Spawn with SpawnOptions.
func StartLocal(ctx context.Context, name string, logger *slog.Logger, exts ...extension.Extension) (actor.ActorSystem, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	opts := []actor.Option{
		actor.WithLogger(goaktLogger(logger)),
		actor.WithShutdownTimeout(shutdownTimeout),
		actor.WithActorInitTimeout(localInitTimeout),
		actor.WithActorInitMaxRetries(1),
		actor.WithThroughputBudget(localThroughput),
		actor.WithDefaultSupervisor(supervisor.NewSupervisor(supervisor.WithAnyErrorDirective(supervisor.StopDirective))),
	}
	if len(exts) > 0 {
		opts = append(opts, actor.WithExtensions(exts...))
	}
	sys, err := actor.NewActorSystem(name, opts...)
	if err != nil {
		return nil, fmt.Errorf("make actor system %s: %w", name, err)
	}
	err = sys.Start(context.WithoutCancel(ctx))
	if err == nil && ctx.Err() != nil {
		err = errors.Join(ctx.Err(), sys.Stop(context.WithoutCancel(ctx)))
	}
	if err != nil {
		return nil, fmt.Errorf("start actor system %s: %w", name, err)
	}
	return sys, nil
}

// SpawnOptions are the house options of every actor, with extra ones after them: long-lived (GoAkt would stop the actor
// after two idle minutes), no relocation, and a supervisor that stops the actor on a panic and on any error (GoAkt would
// suspend it silently). Call it once per spawn: GoAkt wipes an actor's supervisor when the actor stops, so that two
// actors must not share one.
func SpawnOptions(extra ...actor.SpawnOption) []actor.SpawnOption {
	return append([]actor.SpawnOption{
		actor.WithLongLived(),
		actor.WithRelocationDisabled(),
		actor.WithSupervisor(supervisor.NewSupervisor(supervisor.WithAnyErrorDirective(supervisor.StopDirective))),
	}, extra...)
}
