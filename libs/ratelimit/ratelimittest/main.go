package ratelimittest

import (
	"flag"
	"fmt"
	"os"
)

// waiting is how many tests run at a time. They spend their time waiting for what was used to be regained.
const waiting = "12"

// Parallel has many tests run at a time unless -parallel is given. To be called first by TestMain.
func Parallel() {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		if err := flag.Set("test.parallel", waiting); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
}
