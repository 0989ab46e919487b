// Package web tests the gateway's chat page in headless Chromium: against the built binary, which is killed and started
// again, and against a scripted gateway for what a real one hardly ever does.
//
// It needs a Chromium and fails without one: apt-get install -y chromium, or PARLEY_E2E_CHROMIUM=/path/to/chrome. With
// PARLEY_E2E_LOGS=DIR a failed test leaves a screenshot of each of its tabs there.
package web

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/parley-rt/parley/e2e/harness"
)

// shared has the server of the tests that do not disturb it; each uses rooms of its own. What the page shows does not depend
// on the journal.
var shared harness.Shared

func serverURL(t *testing.T) string {
	t.Helper()
	return shared.Server(t, harness.SQLite).URL()
}

// browser is the context that tabs are opened in.
var browser context.Context

var rooms atomic.Int64

func newRoom() string { return fmt.Sprintf("web-%d", rooms.Add(1)) }

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, stop, err := startBrowser()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stop()
	browser = ctx
	return shared.Run(m)
}

// startBrowser starts Chromium with an empty profile, which is removed with it. The kernel ends it with this process.
func startBrowser() (context.Context, context.CancelFunc, error) {
	path, err := findBrowser()
	if err != nil {
		return nil, nil, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.WindowSize(1100, 800),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stopBrowser := chromedp.NewContext(allocator)
	stop := func() {
		stopBrowser()
		stopAllocator()
	}
	if err := chromedp.Do(ctx); err != nil {
		stop()
		return nil, nil, fmt.Errorf("start %s: %w", path, err)
	}
	return ctx, stop, nil
}

func findBrowser() (string, error) {
	if path := os.Getenv("PARLEY_E2E_CHROMIUM"); path != "" {
		return path, nil
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("the browser test found no Chromium. Install it: apt-get install -y chromium (or set PARLEY_E2E_CHROMIUM to a Chrome)")
}
