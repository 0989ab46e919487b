//go:build race

package sim

const (
	defaultSeeds  = 200
	ablationSeeds = 2000
)
