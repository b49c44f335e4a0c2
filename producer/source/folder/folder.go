// Package folder says which files of a folder are pictures, in which order, and what it has beside them.
package folder

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spatial-flow/spatial-flow/flow/picture"
)

// maxFiles bounds the pictures of a folder.
const maxFiles = 1 << 20

// List is the paths of the pictures that a folder has now, in natural order, and what else it has. An error is returned when it
// can't be read, or has more than 1,048,576 pictures.
func List(path string) (pictures []string, others *Passed, err error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, nil, err
	}
	others = new(Passed)
	for _, entry := range entries {
		file := filepath.Join(path, entry.Name())
		switch {
		case hidden(entry.Name()):
		case entry.IsDir():
			others.folder()
		case others.takes(file):
			pictures = append(pictures, file)
		}
	}
	if len(pictures) > maxFiles {
		return nil, nil, fmt.Errorf("folder %s holds %d pictures, at most %d", path, len(pictures), maxFiles)
	}
	slices.SortFunc(pictures, naturalOrder)
	return pictures, others, nil
}

// hidden says whether nobody means a file as a picture, not even to count it: .DS_Store, and ._a.jpg beside a Mac's a.jpg.
func hidden(name string) bool { return strings.HasPrefix(name, ".") }

// pictureNames are how names of pictures end.
var pictureNames = []string{".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif"}

// IsPicture tells by its name whether a file is a picture. What it is decoded as, its bytes say.
func IsPicture(path string) bool {
	return slices.Contains(pictureNames, strings.ToLower(filepath.Ext(path)))
}

// BeginsPicture tells by its first bytes, whatever its name, whether a file is read as a picture. [picture.ErrKind] is returned
// for pictures that are not read. GIFs are films; BMP and TIFF begin too little like themselves to be known without a name.
func BeginsPicture(path string) (bool, error) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return false, nil // whoever opens it says so; a pipe would wait
	}
	file, err := os.Open(path)
	if err != nil {
		return false, nil
	}
	defer file.Close()
	head := make([]byte, picture.HeadSize)
	n, _ := io.ReadFull(file, head) // a shorter file has what it has
	kind, err := picture.KindOf(head[:n])
	if errors.Is(err, picture.ErrKind) {
		return false, err
	}
	return kind == picture.JPEG || kind == picture.PNG || kind == picture.WebP, nil
}
