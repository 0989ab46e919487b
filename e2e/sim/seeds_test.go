//go:build !race

package sim

const (
	defaultSeeds = 2000
	// ablationSeeds bounds the search for a run that breaks without a protection.
	ablationSeeds = 2000
)
