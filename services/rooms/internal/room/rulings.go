package room

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/rooms/internal/room/core"
)

// ruled counts a command about settings or members that was answered.
func (m *Metrics) ruled(a *roomv1.Administer, ruled core.Ruled) {
	m.rulings.Add(context.Background(), 1, metric.WithAttributes(
		attribute.String("kind", rulingKind(a)), attribute.String("outcome", rulingOutcome(ruled)),
	))
}

// rulingKind names what was asked for: one of a few, whoever asks.
func rulingKind(a *roomv1.Administer) string {
	switch a.GetCommand().(type) {
	case *roomv1.Administer_ChangeSettings:
		return "settings"
	case *roomv1.Administer_Kick:
		return "kick"
	case *roomv1.Administer_Ban:
		return "ban"
	case *roomv1.Administer_Unban:
		return "unban"
	case *roomv1.Administer_Mute:
		return "mute"
	case *roomv1.Administer_Unmute:
		return "unmute"
	case *roomv1.Administer_Invite:
		return "invite"
	case *roomv1.Administer_Uninvite:
		return "uninvite"
	default:
		return "unknown" // of a newer version
	}
}

func rulingOutcome(ruled core.Ruled) string {
	switch {
	case ruled.Refused != nil:
		return "refused"
	case ruled.Answer.GetDuplicate():
		return "duplicate"
	case ruled.Answer.GetChanged():
		return "enacted"
	default:
		return "unchanged"
	}
}
