package chaostest

import "time"

// scenario is a world, what goes wrong in it, and how much of the run's time it has. Two of them go on at once, as many as
// there are processors on a small machine.
type scenario struct {
	name  string
	share float64
	setup setup
	sizes sizes
	gap   time.Duration
	loops [][]fault
}

func scenarios() []scenario {
	return []scenario{
		{
			name: "crashes", share: 0.4, gap: 300 * time.Millisecond,
			loops: [][]fault{{killed, frozen}, {terminated, stormed, restarted}, {rotated, retired}},
		},
		{
			name: "network", share: 0.4, gap: 100 * time.Millisecond,
			loops: [][]fault{{answersLost, answersHalfClosed, connectionsCut}, {answersDelayed, stalled, partitioned}, {rotated, retired, restarted}},
		},
		{
			name: "standby", share: 0.4, gap: 300 * time.Millisecond, setup: setup{standby: true},
			loops: [][]fault{{standbyAway}, {answersLost, connectionsCut, terminated, restarted}},
		},
		{
			name: "failover", share: 0.4, gap: 500 * time.Millisecond, setup: setup{standby: true},
			loops: [][]fault{{failedOver, cutOff}},
		},
		{
			name: "disk", share: 0.4, gap: 500 * time.Millisecond, setup: setup{disk: 512},
			loops: [][]fault{{filled, filledLog}, {answersLost, terminated}},
		},
	}
}
