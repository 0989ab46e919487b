// Command pgtest runs a private Postgres cluster until its standard input ends or it is asked to end, and removes it then. The
// first line of its output is the cluster's URL. It is for tests that may not import the package.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/parley-rt/parley/libs/persistence/persistencetest/pgtest"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "pgtest:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, in) // the process ends before this does when it is asked to
		cancel()
	}()
	cluster, err := pgtest.New(ctx, pgtest.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	if _, err := fmt.Fprintln(out, cluster.URL()); err != nil {
		return fmt.Errorf("print the URL: %w", err)
	}
	<-ctx.Done()
	return nil
}
