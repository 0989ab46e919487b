package benchtest

import (
	"math"
	"slices"
)

// Alternate runs the arms in turn, n rounds of all of them, and returns the loads of each arm.
func Alternate(n int, arms ...func() Load) [][]Load {
	loads := make([][]Load, len(arms))
	for range n {
		for i, arm := range arms {
			loads[i] = append(loads[i], arm())
		}
	}
	return loads
}

// Median of the rounds' figures.
func Median(loads []Load, of func(Load) float64) float64 {
	return median(each(len(loads), func(i int) float64 { return of(loads[i]) }))
}

// Ratio is the median over the rounds of a's figure by b's.
func Ratio(a, b []Load, of func(Load) float64) float64 {
	return median(each(len(a), func(i int) float64 { return of(a[i]) / of(b[i]) }))
}

// Difference is the median over the rounds of what a's figure is above b's.
func Difference(a, b []Load, of func(Load) float64) float64 {
	return median(each(len(a), func(i int) float64 { return of(a[i]) - of(b[i]) }))
}

func each(n int, of func(i int) float64) []float64 {
	all := make([]float64, n)
	for i := range all {
		all[i] = of(i)
	}
	return all
}

func median(all []float64) float64 {
	if len(all) == 0 {
		return math.NaN()
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}
