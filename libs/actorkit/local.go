package actorkit

import (
	"context"
	"log/slog"

	"github.com/tochemey/goakt/v4/actor"
	"github.com/tochemey/goakt/v4/extension"
)

// StartLocal starts a non-clustered system with house defaults. Stop it with its own Stop.
func StartLocal(ctx context.Context, name string, logger *slog.Logger, exts ...extension.Extension) (actor.ActorSystem, error) {
	panic("being written")
}

// SpawnOptions are the house options of every actor, with extra ones after them: long-lived, no relocation, and a fresh
// supervisor that stops the actor on a panic and on any error. Call it once per spawn: GoAkt wipes an actor's supervisor
// when the actor stops.
func SpawnOptions(extra ...actor.SpawnOption) []actor.SpawnOption {
	panic("being written")
}
