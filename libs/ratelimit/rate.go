package ratelimit

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// burstSeconds is the burst of a rate that names none, in seconds of it.
const burstSeconds = 5

// Rate is how much a second, and how much at once after a pause. The zero value limits nothing.
type Rate struct{ PerSecond, Burst float64 }

// PerSecond returns the rate n a second with the burst that such a rate has when none is named: 5 s of it.
func PerSecond(n float64) Rate { return Rate{n, max(1, burstSeconds*n)} }

// Off says that the rate limits nothing.
func (r Rate) Off() bool { return r.PerSecond == 0 }

// UnmarshalText reads "rate" or "rate:burst"; "0" is no limit.
func (r *Rate) UnmarshalText(text []byte) error {
	rate, burst, named := strings.Cut(string(text), ":")
	perSecond, err := number(rate)
	if err != nil {
		return err
	}
	v := PerSecond(perSecond)
	if named {
		if v.Burst, err = number(burst); err != nil {
			return err
		}
	}
	if perSecond == 0 {
		v = Rate{}
	}
	if err := v.Check(); err != nil {
		return err
	}
	*r = v
	return nil
}

// RateOf returns a rate that passes Check, from numbers that somebody gave: burst 0 is the one that a rate has when none is named,
// and a rate of 0 is none.
func RateOf(perSecond, burst float64) (Rate, error) {
	for _, v := range []float64{perSecond, burst} {
		if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			return Rate{}, fmt.Errorf("%g is not a number of 0 or more", v)
		}
	}
	r := Rate{perSecond, burst}
	switch {
	case perSecond == 0:
		r = Rate{}
	case burst == 0:
		r = PerSecond(perSecond)
	}
	if err := r.Check(); err != nil {
		return Rate{}, err
	}
	return r, nil
}

func number(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return 0, fmt.Errorf("%q is not a number a second, or number:burst, such as 50 or 50:200; 0 for no limit", s)
	}
	return v, nil
}

// MarshalText is the inverse of UnmarshalText.
func (r Rate) MarshalText() ([]byte, error) {
	if r.Off() {
		return []byte("0"), nil
	}
	format := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	return []byte(format(r.PerSecond) + ":" + format(r.Burst)), nil
}

// Limits of a Rate: they keep its times within what is exact.
const (
	leastPerSecond, mostPerSecond = 1e-3, 1e9
	longestBurst                  = 24 * time.Hour
)

// Check says what is wrong with the rate.
func (r Rate) Check() error {
	switch {
	case r.Off():
		return nil
	case !(r.PerSecond >= leastPerSecond && r.PerSecond <= mostPerSecond): // so that NaN is not, either
		return fmt.Errorf("rate %g a second is not in %g–%g", r.PerSecond, leastPerSecond, mostPerSecond)
	case !(r.Burst >= 1):
		return errors.New("a burst below 1 lets nothing pass")
	case r.Burst/r.PerSecond > longestBurst.Seconds():
		return fmt.Errorf("a burst of %g takes longer than %s to be regained", r.Burst, longestBurst)
	}
	return nil
}

// cost is how long n takes to be regained.
func (r Rate) cost(n float64) int64 { return int64(n * float64(time.Second) / r.PerSecond) }

// depth is how far ahead of now the bucket may be.
func (r Rate) depth() int64 { return r.cost(r.Burst) }

// debt is how far ahead it is kept at most: S of ten nodes is less than 4.
func (r Rate) debt() int64 {
	if r.Off() {
		return 0
	}
	return 5*r.depth() + int64(time.Second)
}

// Limit is what one key may do. The zero value limits nothing.
type Limit struct {
	// Pieces are messages, or whatever is counted.
	Pieces Rate
	Bytes  Rate
}

// Off says that nothing is limited.
func (l Limit) Off() bool { return l.Pieces.Off() && l.Bytes.Off() }

// Check says everything that is wrong with the limit.
func (l Limit) Check() error { return errors.Join(l.Pieces.Check(), l.Bytes.Check()) }

// Cost is what one decision takes. Neither is negative.
type Cost struct{ Pieces, Bytes int }

// One is the cost of one thing that has no weight.
var One = Cost{Pieces: 1} //nolint:gochecknoglobals // a constant, which Go has none of for structs

// rates of a limit, in the order of an entry's uses.
func (l Limit) rates() [2]Rate { return [2]Rate{l.Pieces, l.Bytes} }

func (c Cost) amounts() [2]float64 { return [2]float64{float64(c.Pieces), float64(c.Bytes)} }
