// Package web serves the pages.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"time"
)

//go:embed *.css *.html *.js *.svg
var sources embed.FS

// Page serves the embedded pages. Its files are revalidated by the hash of their content.
type Page struct {
	files map[string]file // by URL path
}

type file struct {
	data []byte
	tag  string
}

// pages are the paths of the pages, and their files.
var pages = map[string]string{"/": "/index.html", "/status": "/status.html"}

// New is the pages and their files.
func New() *Page {
	p := &Page{files: map[string]file{}}
	err := fs.WalkDir(sources, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := sources.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		p.files["/"+name] = file{data: data, tag: `"` + hex.EncodeToString(sum[:16]) + `"`}
		return nil
	})
	if err != nil {
		panic(err) // the files are part of the program: can't fail
	}
	for path, name := range pages {
		p.files[path] = p.files[name]
	}
	return p
}

// contentTypes are those of the page's files: the host's table of types is not to be relied on.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
	".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// Has says whether there is a file at the path.
func (p *Page) Has(path string) bool {
	_, ok := p.files[path]
	return ok
}

// ServeHTTP answers GET and HEAD of what there is.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := p.files[r.URL.Path]
	name := r.URL.Path
	if page, ok := pages[name]; ok {
		name = page
	}
	header := w.Header()
	header.Set("Content-Type", contentTypes[path.Ext(name)])
	header.Set("ETag", f.tag)
	header.Set("Cache-Control", "no-cache")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.data))
}
