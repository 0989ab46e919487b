package web

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// patience is how long a tab waits for something that must come.
const patience = 20 * time.Second

// tab is one browser tab with the chat page, and so one member.
type tab struct {
	t    *testing.T
	ctx  context.Context
	name string

	mu       sync.Mutex
	problems []string
}

// line is a line of the chat as the page shows it. Seq is "" until the line is durable.
type line struct {
	Seq    string `json:"seq"`
	Sender string `json:"sender"`
	Text   string `json:"text"`
	State  string `json:"state"`
}

// openTab opens a tab. Whatever it writes to its console as an error or warning fails the test, a violation of the page's
// security policy too.
func openTab(t *testing.T, name, url string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	require.NoError(t, chromedp.Do(ctx))
	b := &tab{t: t, ctx: ctx, name: name}
	messages := chromedp.Console(ctx)
	var reader sync.WaitGroup
	reader.Go(func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			b.console(m)
		}
	})
	t.Cleanup(func() {
		if t.Failed() {
			b.show()
		}
		cancel()
		reader.Wait()
		require.Empty(t, b.problems, "console of tab %s", name)
	})
	b.open(url)
	return b
}

func (b *tab) console(m chromedp.ConsoleMessage) {
	switch m.Type {
	case chromedp.ConsoleError, chromedp.ConsoleWarning, chromedp.ConsoleException:
	default:
		return
	}
	// Chromium reports every failed connection; the page cannot keep it from doing so.
	if strings.HasPrefix(m.Text, "WebSocket connection to") {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.problems = append(b.problems, fmt.Sprintf("%s: %s", m.Type, m.Text))
}

func (b *tab) open(url string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.Navigate(url)), b.name)
}

// waitConnected waits until the tab is connected and in its room.
func (b *tab) waitConnected() {
	b.t.Helper()
	b.wait(`document.querySelector("[data-conn=open]") && document.body.dataset.phase === "joined"`)
}

// wait waits until a JavaScript expression is true.
func (b *tab) wait(expression string) {
	b.t.Helper()
	poll := chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingInterval(30*time.Millisecond), chromedp.WithPollingTimeout(patience))
	if err := chromedp.Do(b.ctx, poll); err != nil {
		require.NoError(b.t, err, "tab %s waits for %s; it shows %+v", b.name, expression, b.lines())
	}
}

// waitFor waits until there is an element.
func (b *tab) waitFor(selector string) {
	b.t.Helper()
	b.wait(fmt.Sprintf("document.querySelector(%s)", quote(selector)))
}

// waitText waits until the element that selector finds contains a text.
func (b *tab) waitText(selector, text string) {
	b.t.Helper()
	b.wait(fmt.Sprintf("document.querySelector(%s)?.textContent.includes(%s)", quote(selector), quote(text)))
}

// waitCount waits until the page says that n members are here.
func (b *tab) waitCount(n int) {
	b.t.Helper()
	b.waitFor(fmt.Sprintf(`[data-count="%d"]`, n))
	b.wait(fmt.Sprintf(`document.querySelectorAll("[data-member]").length === %d`, n))
}

// waitDurable waits until n lines are shown and all of them are durable.
func (b *tab) waitDurable(n int) {
	b.t.Helper()
	b.wait(fmt.Sprintf(`document.querySelectorAll("[data-line][data-state=durable]").length === %d && document.querySelectorAll("[data-line]").length === %[1]d`, n))
}

// waitTexts waits until exactly these lines are shown, in this order.
func (b *tab) waitTexts(texts ...string) {
	b.t.Helper()
	want, err := json.Marshal(texts)
	require.NoError(b.t, err)
	b.wait(fmt.Sprintf(`JSON.stringify([...document.querySelectorAll("[data-line] [data-text]")].map((e) => e.textContent)) === JSON.stringify(%s)`, want))
}

// eval evaluates a JavaScript expression.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(b.t, err, "tab %s: %s", b.name, expression)
	return v
}

func (b *tab) lines() []line {
	b.t.Helper()
	return eval[[]line](b, `[...document.querySelectorAll("[data-line]")].map((e) => ({
		seq: e.dataset.seq, sender: e.dataset.sender, state: e.dataset.state, text: e.querySelector("[data-text]").textContent }))`)
}

func (b *tab) member() string {
	b.t.Helper()
	return eval[string](b, `JSON.parse(sessionStorage.getItem("parley:session")).member`)
}

// click clicks an element like a script, wherever it is on the screen.
func (b *tab) click(selector string) {
	b.t.Helper()
	b.waitFor(selector)
	require.True(b.t, eval[bool](b, fmt.Sprintf("(document.querySelector(%s).click(), true)", quote(selector))))
}

// write puts text where the cursor is, as a keyboard would.
func (b *tab) write(text string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, input.InsertText, input.InsertTextParams{Text: text})
	require.NoError(b.t, err, b.name)
}

// say writes a line and presses Enter.
func (b *tab) say(text string) {
	b.t.Helper()
	require.True(b.t, eval[bool](b, `(document.getElementById("text").focus(), document.activeElement.id === "text")`))
	b.write(text)
	for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeRawKeyDown, input.DispatchKeyEventTypeKeyUp} {
		_, err := chromedp.Call(b.ctx, input.DispatchKeyEvent, input.DispatchKeyEventParams{
			Type: kind, Key: "Enter", Code: "Enter", WindowsVirtualKeyCode: 13, NativeVirtualKeyCode: 13,
		})
		require.NoError(b.t, err, b.name)
	}
}

// resize makes the tab a screen of this size.
func (b *tab) resize(width, height int64) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600,
	})
	require.NoError(b.t, err)
}

// show tells what a failed test's tab looked like.
func (b *tab) show() {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	state, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.getElementById("conn").textContent + " " + document.body.dataset.phase`))
	b.t.Logf("tab %s: %s %v", b.name, state, err)
	dir := os.Getenv("PARLEY_E2E_LOGS")
	if dir == "" {
		return
	}
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		name := strings.ReplaceAll(b.t.Name(), "/", "-") + "-" + b.name + ".png"
		err = os.WriteFile(filepath.Join(dir, name), picture, 0o600)
	}
	if err != nil {
		b.t.Logf("screenshot of tab %s: %v", b.name, err)
	}
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string is always JSON
	}
	return string(b)
}
