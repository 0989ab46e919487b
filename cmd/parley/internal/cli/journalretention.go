package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// days is a number of days, written 30d; 0: not given.
type days int32

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *days) UnmarshalText(text []byte) error {
	number, ok := strings.CutSuffix(string(text), "d")
	n, err := strconv.ParseInt(number, 10, 16)
	if !ok || err != nil || n < 1 {
		return fmt.Errorf("%q is not a number of days, such as 30d", text)
	}
	*d = days(n)
	return nil
}

// today is the number that rotate gives a partition: days since 1970 (UTC).
func today() int32 { return int32(time.Now().Unix() / int64((24 * time.Hour).Seconds())) }

// newestBefore returns the newest partition that no event went to after the day. A partition's own number is the day when
// its events begin (0 in a new journal, whenever that began); they end on the day when the next one begins, which may be much
// later when nobody rotated. Whatever follows a partition that may not go may not go either.
func newestBefore(partitions []persistence.Partition, day int32) (newest int32, found bool) {
	for i, p := range partitions {
		if p.Current || i+1 == len(partitions) || partitions[i+1].Part > day {
			break
		}
		newest, found = p.Part, true
	}
	return newest, found
}
