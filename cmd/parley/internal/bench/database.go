package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// DatabaseProcess finds the first process of the Postgres server behind a URL, which has to be on this machine.
func DatabaseProcess(ctx context.Context, url string) (pid int, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return 0, fmt.Errorf("connect to database: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	var backend int
	var local bool
	row := conn.QueryRow(ctx, `SELECT pg_backend_pid(), inet_server_addr() IS NULL OR host(inet_server_addr()) IN ('127.0.0.1', '::1')`)
	if err := row.Scan(&backend, &local); err != nil {
		return 0, fmt.Errorf("ask database for its process: %w", err)
	}
	if !local {
		return 0, errors.New("the database is on another machine, and its CPU time is part of the result: use one on this machine")
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", backend))
	if err != nil {
		return 0, fmt.Errorf("find the process of the database: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if parent, ok := strings.CutPrefix(line, "PPid:"); ok {
			return strconv.Atoi(strings.TrimSpace(parent))
		}
	}
	return 0, fmt.Errorf("find the process of the database: process %d has no parent", backend)
}
