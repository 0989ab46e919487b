package chaostest

import "time"

// scenario is a world, what goes wrong in it, and how much of the run's time it has. Two of them go on at once, as many as
// there are processors on a small machine.
type scenario struct {
	name  string
	share float64
	// long: it has more to go wrong than fits in a short run.
	long  bool
	setup setup
	sizes sizes
	gap   time.Duration
	loops [][]fault
}

func scenarios() []scenario {
	return []scenario{
		{
			name: "crashes", share: 1. / 3, gap: 500 * time.Millisecond,
			loops: [][]fault{{killed, frozen}, {terminated, stormed, restarted}, {rotated, retired}},
		},
		{
			name: "network", share: 1. / 3, gap: 100 * time.Millisecond,
			loops: [][]fault{{answersLost, answersHalfClosed, connectionsCut}, {answersDelayed, stalled, partitioned}, {rotated, retired, restarted}},
		},
		{
			name: "standby", share: 1. / 3, gap: 300 * time.Millisecond, setup: setup{standby: true},
			loops: [][]fault{{standbyAway}, {answersLost, connectionsCut, terminated, restarted}},
		},
		{
			name: "failover", share: 1. / 3, gap: 500 * time.Millisecond, setup: setup{standby: true},
			loops: [][]fault{{failedOver, cutOff}},
		},
		{
			name: "disk", share: 1. / 3, gap: 500 * time.Millisecond, setup: setup{disk: 512},
			loops: [][]fault{{filled, filledLog}, {answersLost, terminated}},
		},
		{
			name: "everything", share: 1. / 3, long: true, gap: 500 * time.Millisecond, setup: setup{disk: 512},
			loops: [][]fault{
				{killed, frozen, filled, filledLog},
				{answersLost, answersHalfClosed, answersDelayed, stalled, connectionsCut, partitioned},
				{terminated, stormed, restarted},
				{rotated, retired},
			},
		},
	}
}
