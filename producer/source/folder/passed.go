package folder

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/spatial-flow/spatial-flow/flow/picture"
)

// unreadNames are how names of pictures end that are not read.
var unreadNames = []string{
	".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".jxr", ".psd", ".psb", ".svg", ".exr", ".hdr", ".ico",
	".cr2", ".cr3", ".nef", ".nrw", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw", ".raw",
}

// unread tells by its name whether a file is a picture of a kind that is not read.
func unread(path string) bool {
	return slices.Contains(unreadNames, strings.ToLower(filepath.Ext(path)))
}

// noPicture is the kind of files that are none.
const noPicture = "no picture"

// kindsTold bounds the kinds that are told apart.
const kindsTold = 8

// Passed counts what a folder has beside the pictures that are read, by kind. It serves many goroutines.
type Passed struct {
	mu      sync.Mutex
	kinds   map[string]int
	files   int
	folders int
}

// takes says whether a file of a folder is read; what is not, is counted.
func (p *Passed) takes(path string) bool {
	extension := strings.ToLower(filepath.Ext(path))
	if IsPicture(path) {
		return true
	}
	kind := extension
	if !unread(path) {
		begins, err := BeginsPicture(path)
		switch {
		case begins:
			return true
		case !errors.Is(err, picture.ErrKind):
			kind = noPicture
		case extension == "":
			kind = "unsupported"
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files++
	if p.kinds == nil {
		p.kinds = map[string]int{}
	}
	p.kinds[kind]++
	return false
}

func (p *Passed) folder() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.folders++
}

// String is a line such as "12 files passed over: 9 no pictures, 3 .heic; 1 sub-folder"; empty: there is nothing to say.
func (p *Passed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var parts []string
	if p.files > 0 {
		kinds := slices.SortedFunc(maps.Keys(p.kinds), func(a, b string) int {
			return cmp.Or(cmp.Compare(p.kinds[b], p.kinds[a]), strings.Compare(a, b))
		})
		var each []string
		rest := p.files
		for _, kind := range kinds[:min(len(kinds), kindsTold)] {
			n := p.kinds[kind]
			rest -= n
			each = append(each, count(n, kind, kind == noPicture))
		}
		if rest > 0 {
			each = append(each, fmt.Sprintf("%d others", rest))
		}
		parts = append(parts, count(p.files, "file", true)+" passed over: "+strings.Join(each, ", "))
	}
	if p.folders > 0 {
		parts = append(parts, count(p.folders, "sub-folder", true)+" not entered")
	}
	return strings.Join(parts, "; ")
}

// count is a number of things; plural says that their name takes an s.
func count(n int, thing string, plural bool) string {
	if plural && n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}
