package webui

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the page may weigh in all, in bytes as written and as sent to a browser.
const (
	sizeBudget   = 64 << 10
	zippedBudget = 24 << 10
)

func ask(t *testing.T, h http.Handler, method, path string, headers ...string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	res := w.Result()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return res, string(body)
}

func TestHandlerServesEachKindOfFile(t *testing.T) {
	t.Parallel()
	for path, contentType := range map[string]string{
		"/":          "text/html; charset=utf-8",
		"/?room=a.b": "text/html; charset=utf-8",
		"/app.js":    "text/javascript; charset=utf-8",
		"/client.js": "text/javascript; charset=utf-8",
		"/style.css": "text/css; charset=utf-8",
		"/icon.svg":  "image/svg+xml",
	} {
		res, body := ask(t, Handler(), http.MethodGet, path)
		require.Equal(t, http.StatusOK, res.StatusCode, path)
		require.Equal(t, contentType, res.Header.Get("Content-Type"), path)
		require.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"), path)
		require.Equal(t, "no-referrer", res.Header.Get("Referrer-Policy"), path)
		require.Equal(t, "no-cache", res.Header.Get("Cache-Control"), path)
		require.NotEmpty(t, body, path)

		head, nothing := ask(t, Handler(), http.MethodHead, path)
		require.Equal(t, http.StatusOK, head.StatusCode, path)
		require.Equal(t, res.Header.Get("ETag"), head.Header.Get("ETag"), path)
		require.Empty(t, nothing, path)
	}
}

func TestHandlerAnswersNotModified(t *testing.T) {
	t.Parallel()
	res, _ := ask(t, Handler(), http.MethodGet, "/app.js")
	require.NotEmpty(t, res.Header.Get("ETag"))

	same, body := ask(t, Handler(), http.MethodGet, "/app.js", "If-None-Match", res.Header.Get("ETag"))
	require.Equal(t, http.StatusNotModified, same.StatusCode)
	require.Empty(t, body)

	other, _ := ask(t, Handler(), http.MethodGet, "/app.js", "If-None-Match", `"older"`)
	require.Equal(t, http.StatusOK, other.StatusCode)
}

func TestHandlerCompresses(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]bool{"gzip, deflate, br": true, "br;q=1.0, GZIP;q=0.8": true, "": false, "br": false, "gzip;q=0": false, "gzip; q=0.0": false} {
		plain, body := ask(t, Handler(), http.MethodGet, "/app.js")
		res, sent := ask(t, Handler(), http.MethodGet, "/app.js", "Accept-Encoding", accept)
		require.Equal(t, "Accept-Encoding", res.Header.Get("Vary"), accept)
		if !want {
			require.Empty(t, res.Header.Get("Content-Encoding"), accept)
			require.Equal(t, body, sent, accept)
			continue
		}
		require.Equal(t, "gzip", res.Header.Get("Content-Encoding"), accept)
		require.NotEqual(t, plain.Header.Get("ETag"), res.Header.Get("ETag"), accept)
		r, err := gzip.NewReader(strings.NewReader(sent))
		require.NoError(t, err)
		unzipped, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, body, string(unzipped), accept)
	}
}

func TestHandlerRefusesWhatItIsNotFor(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/nothing", "/static/app.js", "/index.html", "/..%2fwebui.go", "/app.js/", "/ws", "//"} {
		res, _ := ask(t, Handler(), http.MethodGet, path)
		require.Equal(t, http.StatusNotFound, res.StatusCode, path)
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		res, _ := ask(t, Handler(), method, "/")
		require.Equal(t, http.StatusMethodNotAllowed, res.StatusCode, method)
		require.Equal(t, "GET, HEAD", res.Header.Get("Allow"), method)
	}
}

func TestPolicyAllowsOnlyOwnFiles(t *testing.T) {
	t.Parallel()
	res, _ := ask(t, Handler(), http.MethodGet, "/")
	policy := res.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		require.Contains(t, policy, want)
	}
	for _, never := range []string{"unsafe", "*", "http:", "data:", "blob:"} {
		require.NotContains(t, policy, never)
	}
}

// TestPageObeysItsPolicy reads the files for what the policy would block in the browser or what would leave this host.
func TestPageObeysItsPolicy(t *testing.T) {
	t.Parallel()
	files, err := load(DefaultWSPath)
	require.NoError(t, err)
	total, zipped := 0, 0
	outside := regexp.MustCompile(`(?:https?:)?//[a-z0-9-]+\.[a-z]`)
	inline := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|javascript:|<script(?:[^>]*)>[^<]`)
	markup := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function`)
	for at, f := range files {
		total += len(f.plain.body)
		zipped += len(f.zipped.body)
		text := strings.ReplaceAll(string(f.plain.body), `xmlns="http://www.w3.org/2000/svg"`, "")
		text = strings.ReplaceAll(text, `"http://www.w3.org/2000/svg"`, "")
		require.NotRegexp(t, outside, text, at)
		switch f.contentType {
		case contentTypes()[".html"]:
			require.NotRegexp(t, inline, text, at)
			require.Contains(t, text, `<html lang="en">`)
		case contentTypes()[".js"]:
			require.NotRegexp(t, markup, text, at)
		}
	}
	require.Less(t, total, sizeBudget, "the page is to stay small")
	require.Less(t, zipped, zippedBudget, "the page is to stay small")
}

func TestPageFindsTheWebSocket(t *testing.T) {
	t.Parallel()
	_, body := ask(t, Handler(), http.MethodGet, "/")
	require.Contains(t, body, `<meta name="parley-ws" content="/ws">`)
	_, body = ask(t, HandlerFor(`/a"b`), http.MethodGet, "/")
	require.Contains(t, body, `<meta name="parley-ws" content="/a&#34;b">`)
}

// TestModulesAreThere catches an import or reference of a file that is not embedded.
func TestModulesAreThere(t *testing.T) {
	t.Parallel()
	files, err := load(DefaultWSPath)
	require.NoError(t, err)
	reference := regexp.MustCompile(`from "\./([^"]+)"|(?:src|href)="([a-z][a-z.]+)"`)
	seen := 0
	for at, f := range files {
		for _, m := range reference.FindAllStringSubmatch(string(f.plain.body), -1) {
			seen++
			require.Contains(t, files, "/"+m[1]+m[2], "referred to by %s", at)
		}
	}
	require.GreaterOrEqual(t, seen, 10)
}
