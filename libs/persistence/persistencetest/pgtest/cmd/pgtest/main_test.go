package main

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestClusterLivesAsLongAsTheInput(t *testing.T) {
	t.Parallel()
	in, hold := io.Pipe()
	printed, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(in, out) }()
	url, err := bufio.NewReader(printed).ReadString('\n')
	require.NoError(t, err)
	url = strings.TrimSpace(url)
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	require.NoError(t, conn.Ping(t.Context()))
	require.NoError(t, conn.Close(t.Context()))

	require.NoError(t, hold.Close())
	require.NoError(t, <-ended)
	_, err = pgx.Connect(context.Background(), url)
	require.Error(t, err)
}
