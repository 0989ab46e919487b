// Command gateway is a gateway node of Parley. It is configured by variables PARLEY_…; gateway --help lists them.
package main

import (
	"context"
	"os"

	"github.com/parley-rt/parley/services/gateway"
)

func main() { os.Exit(gateway.Program().Run(context.Background(), os.Args[1:])) }
