package memory

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes, read as "268435456", "256MiB" or "4 GiB"; also with the units B, KiB and TiB.
type Size int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(text []byte) error {
	number, factor := strings.TrimSpace(string(text)), int64(1)
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB", "B"} {
		if n, ok := strings.CutSuffix(number, unit); ok {
			number = strings.TrimSpace(n)
			if unit != "B" {
				factor = 1 << (10 * (i + 1))
			}
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/factor {
		return fmt.Errorf("%q is no size: give one such as 512MiB or 4GiB", text)
	}
	*s = Size(n * factor)
	return nil
}
