package opskit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// settings of a program.
type settings struct {
	ProcessConfig `embed:""`
	Listen        string `required:"true" help:"Where to listen."`
}

// program runs with an environment; what it prints goes to out.
func program(t *testing.T, out *bytes.Buffer, components func(*settings, Process) []Component, environ ...string) Program[settings] {
	t.Helper()
	return Program[settings]{
		Name: "rooms", Process: func(s *settings) ProcessConfig { return s.ProcessConfig },
		Components: components, StopTimeout: time.Second, Stdout: out, Stderr: out,
		Environ: append([]string{
			"PARLEY_DC=dc-a", "PARLEY_NODE=rooms-1", "PARLEY_LISTEN=here", "PARLEY_OPS_LISTEN=127.0.0.1:0", "PARLEY_DATA_DIR=" + t.TempDir(),
		}, environ...),
	}
}

func TestProgramServesUntilItIsStopped(t *testing.T) {
	var out bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	p := program(t, &out, func(s *settings, p Process) []Component {
		require.Equal(t, "here", s.Listen)
		return []Component{NewComponent("service", func(ctx context.Context) error {
			// Whoever waits is asked already.
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Ops.Addr()+"/readyz", nil)
			if err != nil {
				return err
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			body, err := io.ReadAll(res.Body)
			if err != nil {
				return err
			}
			http.DefaultClient.CloseIdleConnections()
			require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
			require.Contains(t, string(body), "[-]started failed: still starting")
			cancel()
			return res.Body.Close()
		}, nil)}
	})
	require.Equal(t, ExitOK, p.Run(ctx, nil), out.String())
	require.Contains(t, out.String(), "stopping")
}

func TestProgramFails(t *testing.T) {
	var out bytes.Buffer
	p := program(t, &out, func(*settings, Process) []Component {
		return []Component{NewComponent("journal", func(context.Context) error { return errors.New("schema is not migrated") }, nil)}
	})
	require.Equal(t, ExitFailed, p.Run(t.Context(), nil))
	require.Contains(t, out.String(), "start journal: schema is not migrated")
}

func TestProgramRefusesItsConfiguration(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	p := program(t, &out, nil, "PARLEY_NOD=x", "PARLEY_DATA_DIR="+file, "PARLEY_LISTEN=")
	p.Environ = append(p.Environ[:2], p.Environ[3:]...) // without PARLEY_LISTEN=here
	require.Equal(t, ExitConfig, p.Run(t.Context(), []string{"--log-level=loud"}))
	for _, want := range []string{
		"rooms: configuration has 3 problems:",
		`unknown variable PARLEY_NOD: did you mean "PARLEY_NODE"?`,
		"--log-level: ",
		"PARLEY_DATA_DIR: ",
		"rooms --help lists the settings",
	} {
		require.Contains(t, out.String(), want)
	}
	out.Reset()
	require.Equal(t, ExitOK, p.Run(t.Context(), []string{"--help"}))
	require.Contains(t, out.String(), "Where to listen ($PARLEY_LISTEN).")
}
