package opskit

import (
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
)

// histogramView gives every histogram of seconds and of bytes the same buckets,
// so that they can be added up across services and compared on one graph. It
// decides by unit; histograms of other units keep the boundaries their
// instrument asks for.
//
// Explicit buckets and not exponential ones: the latter are invisible in
// Prometheus' text format, which is what people and most scrapers read.
func histogramView(inst sdkmetric.Instrument) (sdkmetric.Stream, bool) {
	if inst.Kind != sdkmetric.InstrumentKindHistogram {
		return sdkmetric.Stream{}, false
	}
	var bounds []float64
	switch inst.Unit {
	case "s":
		bounds = durationBounds()
	case "By":
		bounds = sizeBounds()
	default:
		return sdkmetric.Stream{}, false
	}
	return sdkmetric.Stream{
		Name: inst.Name, Description: inst.Description, Unit: inst.Unit,
		Aggregation: sdkmetric.AggregationExplicitBucketHistogram{Boundaries: bounds},
	}, true
}

// durationBounds runs from a tenth of a millisecond, what an actor hop takes, to
// a minute, beyond every timeout. The publish answer's limit of 5 s and the
// delivery targets are boundaries themselves.
func durationBounds() []float64 {
	return []float64{
		0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
		0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
	}
}

// sizeBounds runs from 64 B to 16 MiB in steps of four.
func sizeBounds() []float64 {
	bounds := make([]float64, 0, 10)
	for b := 64.0; b <= 16<<20; b *= 4 {
		bounds = append(bounds, b)
	}
	return bounds
}
