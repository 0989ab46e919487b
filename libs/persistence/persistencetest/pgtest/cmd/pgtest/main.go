// Command pgtest runs a private Postgres cluster until its standard input ends or it is asked to end, and removes it then. The
// first line of its output is the cluster's URL. It is for tests that may not import the package.
//
//	pgtest [-host ADDRESS]
//
// Lines of its input are commands, each of which is answered by a line of output once it is done, "ok" or "error: …":
//
//	kill     ends all processes of the server by SIGKILL
//	start    starts it again, on the same data and port; it accepts connections then
//	pause    stops all its processes by SIGSTOP
//	resume   lets them go on
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/parley-rt/parley/libs/persistence/persistencetest/pgtest"
)

func main() {
	host := flag.String("host", "", "address that the server listens at besides 127.0.0.1, for clients of its /24 network; the URL has it")
	flag.Parse()
	if err := run(pgtest.Options{Host: *host}, os.Stdin, os.Stdout); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "pgtest:", err)
		os.Exit(1)
	}
}

func run(opts pgtest.Options, in io.Reader, out io.Writer) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines := make(chan string)
	go func() { // the process ends before this does when it is asked to
		defer cancel()
		for scanner := bufio.NewScanner(in); scanner.Scan(); {
			select {
			case lines <- scanner.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	cluster, err := pgtest.New(ctx, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	if _, err := fmt.Fprintln(out, cluster.URL()); err != nil {
		return fmt.Errorf("print the URL: %w", err)
	}
	for {
		select {
		case line := <-lines:
			if _, err := fmt.Fprintln(out, answer(obey(ctx, cluster, line))); err != nil {
				return fmt.Errorf("answer %q: %w", line, err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// obey carries a command out. The end of the input ends it, too.
func obey(ctx context.Context, cluster *pgtest.Cluster, command string) error {
	switch command {
	case "kill":
		return cluster.Kill9()
	case "start":
		return cluster.StartAgain(ctx)
	case "pause":
		return cluster.Pause()
	case "resume":
		return cluster.Resume()
	default:
		return fmt.Errorf("unknown command %q, want kill, start, pause or resume", command)
	}
}

// answer is one line whatever the error says: some show the end of the server's log.
func answer(err error) string {
	if err == nil {
		return "ok"
	}
	return "error: " + strings.ReplaceAll(err.Error(), "\n", " | ")
}
