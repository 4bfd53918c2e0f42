package ui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"regexp"
	"strings"

	"github.com/pizzamill/pizzamill/platform/httpserver"
)

//go:embed static
var staticFiles embed.FS

// asset is a static file as it is served. Its name holds the hash of its
// content, so that browsers may keep it for ever and a new release is seen at once.
type asset struct {
	contentType string
	plain       []byte
	gzipped     []byte
}

// Addresses of the static files.
var (
	assets    = map[string]asset{} // by name with hash
	styleURL  = addAsset("style.css", "text/css; charset=utf-8")
	bootURL   = addAsset("boot.js", "text/javascript; charset=utf-8")
	pageURL   = addAsset("page.js", "text/javascript; charset=utf-8")
	liveURL   = addAsset("live.js", "text/javascript; charset=utf-8")
	iconURL   = addAsset("icon.svg", "image/svg+xml")
	symbolURL = addAsset("pizza-symbols.svg", "image/svg+xml")
	symbols   = symbolNames()
)

func readStatic(name string) []byte {
	b, err := staticFiles.ReadFile("static/" + name)
	if err != nil {
		panic(fmt.Sprintf("ui: static file %s is not embedded: %v", name, err))
	}
	return b
}

// addAsset makes a file servable and returns its address.
func addAsset(name, contentType string) string {
	plain := readStatic(name)
	var zipped bytes.Buffer
	w, _ := gzip.NewWriterLevel(&zipped, gzip.BestCompression) // the level is valid
	_, _ = w.Write(plain)                                      // a buffer takes everything
	_ = w.Close()
	sum := sha256.Sum256(plain)
	ext := path.Ext(name)
	hashed := strings.TrimSuffix(name, ext) + "." + hex.EncodeToString(sum[:6]) + ext
	assets[hashed] = asset{contentType: contentType, plain: plain, gzipped: zipped.Bytes()}
	return "/static/" + hashed
}

// symbolNames reads from the sheet what can be drawn.
func symbolNames() map[string]bool {
	names := map[string]bool{}
	for _, m := range regexp.MustCompile(` id="([a-z0-9-]+)"`).FindAllSubmatch(readStatic("pizza-symbols.svg"), -1) {
		names[string(m[1])] = true
	}
	return names
}

// symbol is the address of one symbol of the sheet.
func symbol(name string) string { return symbolURL + "#" + name }

func (s *site) static(w http.ResponseWriter, r *http.Request) {
	a, ok := assets[r.PathValue("file")]
	if !ok {
		s.fail(w, r, httpserver.NewProblem(http.StatusNotFound, "There is no such file."))
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	body := a.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = a.gzipped
	}
	_, _ = w.Write(body) // the browser may be gone; there is nobody else to tell
}
