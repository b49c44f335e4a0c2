package source

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxPictures bounds the pictures of a folder.
const maxPictures = 1 << 20

// folder reads picture files one after the other.
type folder struct {
	paths  []string // not yet read
	intake Intake
	watch  *watch // for files that come later; nil: it ends
}

func openFolder(path string, s Settings) (Source, Info, error) {
	if s.Watch {
		return openWatched(path, s)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, Info{}, fmt.Errorf("%w: %w", ErrOpen, err)
	}
	var paths []string
	others := new(passed)
	for _, entry := range entries {
		file := filepath.Join(path, entry.Name())
		switch {
		case hidden(entry.Name()):
		case entry.IsDir():
			others.folder()
		case others.takes(file):
			paths = append(paths, file)
		}
	}
	if len(paths) == 0 {
		err := fmt.Errorf("%w: folder %s holds no JPEG, PNG, BMP, WebP, TIFF or GIF", ErrNoPictures, path)
		if said := others.String(); said != "" {
			err = fmt.Errorf("%w (%s)", err, said)
		}
		return nil, Info{}, err
	}
	if len(paths) > maxPictures {
		return nil, Info{}, fmt.Errorf("%w: folder %s holds %d pictures, at most %d", ErrOpen, path, len(paths), maxPictures)
	}
	slices.SortFunc(paths, naturalOrder)
	return newFolder(paths, s), Info{Frames: uint64(len(paths)), Note: others.String}, nil
}

func newFolder(paths []string, s Settings) *folder {
	return &folder{paths: paths, intake: Intake{s}}
}

// hidden says whether nobody means a file as a picture, not even to count it: .DS_Store, and ._a.jpg beside a Mac's a.jpg.
func hidden(name string) bool { return strings.HasPrefix(name, ".") }

func (f *folder) Next(ctx context.Context) (Picture, error) {
	if err := ctx.Err(); err != nil {
		return Picture{}, err
	}
	if len(f.paths) == 0 && f.watch != nil {
		var err error
		if f.paths, err = f.watch.next(ctx); err != nil {
			return Picture{}, err
		}
	}
	if len(f.paths) == 0 {
		return Picture{}, io.EOF
	}
	path := f.paths[0]
	f.paths = f.paths[1:]
	return f.intake.file(path), nil
}

func (f *folder) Skip(_ context.Context, n uint64) error {
	f.paths = f.paths[min(n, uint64(len(f.paths))):]
	return nil
}

func (f *folder) Corrupt() uint64 { return 0 }

func (f *folder) Close() error { return nil }

// naturalOrder compares names as people do: numbers by their value, all else by its bytes.
func naturalOrder(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		if n, m := digits(x), digits(y); n > 0 && m > 0 {
			left, right := strings.TrimLeft(x[:n], "0"), strings.TrimLeft(y[:m], "0")
			if c := cmp.Or(cmp.Compare(len(left), len(right)), strings.Compare(left, right)); c != 0 {
				return c
			}
			x, y = x[n:], y[m:]
			continue
		}
		if c := cmp.Compare(x[0], y[0]); c != 0 {
			return c
		}
		x, y = x[1:], y[1:]
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(a, b))
}

// digits is the length of the number that text begins with.
func digits(text string) int {
	n := 0
	for n < len(text) && text[n] >= '0' && text[n] <= '9' {
		n++
	}
	return n
}
