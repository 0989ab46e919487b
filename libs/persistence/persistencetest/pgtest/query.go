package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// superuser is also the name of the database.
const superuser = "parley"

// dropTimeout is enough for a schema with many partitions.
const dropTimeout = 30 * time.Second

// URL is the database's address: postgres://parley@127.0.0.1:PORT/parley?sslmode=disable, or with the host of the Options. It survives
// restarts.
func (c *Cluster) URL() string { return urlAt(c.Addr(), superuser) }

// URLVia is URL through a proxy whose target is the cluster.
func (c *Cluster) URLVia(p *Proxy) string { return urlAt(p.Addr(), superuser) }

func urlAt(addr, database string) string {
	return fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", superuser, addr, database)
}

// SchemaURL is URL with a search_path of one schema that nobody else has. The schema is not there yet; with the test it is
// dropped, for which the test must have closed what it opened there.
func (c *Cluster) SchemaURL(tb testing.TB) string {
	tb.Helper()
	return c.URL() + "&search_path=" + c.newSchema(tb)
}

// SchemaURLVia is SchemaURL through a proxy whose target is the cluster.
func (c *Cluster) SchemaURLVia(tb testing.TB, p *Proxy) string {
	tb.Helper()
	return c.URLVia(p) + "&search_path=" + c.newSchema(tb)
}

func (c *Cluster) newSchema(tb testing.TB) string {
	tb.Helper()
	schema := "test_" + strings.ToLower(rand.Text())
	tb.Cleanup(func() {
		if err := c.dropSchema(schema); err != nil {
			tb.Error(err)
		}
	})
	return schema
}

// dropSchema does nothing to a cluster that does not run: its data will hardly be looked at again.
func (c *Cluster) dropSchema(schema string) error {
	if err := c.Resume(); err != nil {
		return err
	}
	if c.PID() == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), dropTimeout)
	defer cancel()
	if err := c.Exec(ctx, "DROP SCHEMA IF EXISTS "+pgx.Identifier{schema}.Sanitize()+" CASCADE"); err != nil {
		return fmt.Errorf("drop the test's schema (is a connection of the test still open?): %w", err)
	}
	return nil
}

// createDatabase makes the one that URL names.
func (c *Cluster) createDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, urlAt(c.Addr(), "postgres"))
	if err != nil {
		return fmt.Errorf("create the database: %w", err)
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+superuser)
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		return fmt.Errorf("create the database: %w", err)
	}
	return nil
}

// Exec runs SQL on a connection of its own: several statements if there are no arguments.
func (c *Cluster) Exec(ctx context.Context, sql string, args ...any) error {
	conn, err := pgx.Connect(ctx, c.URL())
	if err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	_, err = conn.Exec(ctx, sql, args...)
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		return fmt.Errorf("exec: %w", err)
	}
	return nil
}

// QueryRow runs a query on a connection of its own when the row is scanned.
func (c *Cluster) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return row{func(dest ...any) error {
		conn, err := pgx.Connect(ctx, c.URL())
		if err != nil {
			return fmt.Errorf("connect to the cluster: %w", err)
		}
		err = conn.QueryRow(ctx, sql, args...).Scan(dest...)
		return errors.Join(err, conn.Close(ctx))
	}}
}

type row struct{ scan func(dest ...any) error }

// Scan implements pgx.Row.
func (r row) Scan(dest ...any) error { return r.scan(dest...) }
