// Package webui is the chat page that the gateway serves at its own address: a client of the public protocol like any
// other, in plain ES modules without a build step. Everything it needs is embedded; it loads nothing from elsewhere.
package webui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed static
var static embed.FS

// DefaultWSPath is where the page expects the WebSocket unless it is told otherwise.
const DefaultWSPath = "/ws"

const index = "index.html"

// contentSecurityPolicy lets the page run its own files and talk to its own gateway, nothing else. Trusted Types make
// the browser refuse the APIs that turn a string into markup, which the page has no use for.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// contentTypes names every kind of file the page may consist of. It does not depend on the system's MIME table.
func contentTypes() map[string]string {
	return map[string]string{
		".html": "text/html; charset=utf-8",
		".css":  "text/css; charset=utf-8",
		".js":   "text/javascript; charset=utf-8",
		".svg":  "image/svg+xml",
	}
}

// file is one embedded file, ready to be sent in two forms.
type file struct {
	name, contentType string
	plain, zipped     form
}

type form struct {
	body []byte
	etag string
}

// Handler serves the chat page at "/" and its files beside it, for a gateway whose WebSocket is at DefaultWSPath. Other
// paths are answered 404, other methods than GET and HEAD 405. It is safe for concurrent use.
func Handler() http.Handler { return HandlerFor(DefaultWSPath) }

// HandlerFor is Handler for a gateway whose WebSocket is at wsPath.
func HandlerFor(wsPath string) http.Handler {
	files, err := load(wsPath)
	if err != nil {
		panic(err) // the files are embedded: only a build without them can fail
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("Content-Type", f.contentType)
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		// Kept but asked about each time: after an upgrade no tab mixes old and new modules.
		h.Set("Cache-Control", "no-cache")
		h.Set("Vary", "Accept-Encoding")
		form := f.plain
		if acceptsGzip(r) {
			form = f.zipped
			h.Set("Content-Encoding", "gzip")
		}
		h.Set("ETag", form.etag)
		http.ServeContent(w, r, f.name, time.Time{}, bytes.NewReader(form.body))
	})
}

// acceptsGzip reads Accept-Encoding as far as browsers and proxies use it: gzip is named, and not with a weight of 0.
func acceptsGzip(r *http.Request) bool {
	for coding := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		name, weight, _ := strings.Cut(strings.ReplaceAll(coding, " ", ""), ";")
		if strings.EqualFold(name, "gzip") {
			return strings.Trim(strings.TrimPrefix(weight, "q="), "0.") != "" || weight == ""
		}
	}
	return false
}

func load(wsPath string) (map[string]file, error) {
	names, err := fs.Glob(static, "static/*")
	if err != nil {
		return nil, fmt.Errorf("list the page's files: %w", err)
	}
	types := contentTypes()
	files := make(map[string]file, len(names))
	for _, name := range names {
		body, err := static.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		base := path.Base(name)
		contentType, ok := types[path.Ext(base)]
		if !ok {
			return nil, fmt.Errorf("%s: no content type for %q", name, path.Ext(base))
		}
		at := "/" + base
		if base == index {
			at = "/"
			body = bytes.Replace(body, []byte(`content="`+DefaultWSPath+`"`), []byte(`content="`+html.EscapeString(wsPath)+`"`), 1)
		}
		zipped, err := zip(body)
		if err != nil {
			return nil, fmt.Errorf("compress %s: %w", name, err)
		}
		files[at] = file{name: base, contentType: contentType, plain: newForm(body), zipped: newForm(zipped)}
	}
	if _, ok := files["/"]; !ok {
		return nil, fmt.Errorf("static/%s: %w", index, fs.ErrNotExist)
	}
	return files, nil
}

func newForm(body []byte) form {
	sum := sha256.Sum256(body)
	return form{body: body, etag: `"` + hex.EncodeToString(sum[:8]) + `"`}
}

func zip(body []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
