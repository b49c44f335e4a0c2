package source

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// marked are the bytes at the beginning and before the end of a film by which it is known.
const marked = 64 << 10

// FilmFile is the file of a film, to be told from another of its name.
type FilmFile struct{ path string }

// filmMark is what is noted of a film.
type filmMark struct {
	Size int64  `json:"size"` // bytes
	Sum  string `json:"sum"`  // of its first and its last bytes
}

// Mark is what to know the film by, to be noted with a run of it.
func (f *FilmFile) Mark() (string, error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return "", err
	}
	m := filmMark{Size: info.Size()}
	if m.Sum, err = f.sum(m.Size); err != nil {
		return "", err
	}
	text, err := json.Marshal(m)
	return string(text), err
}

// Is says whether the file is the film that a mark was made of, or has grown since.
func (f *FilmFile) Is(mark string) (bool, error) {
	var m filmMark
	if err := json.Unmarshal([]byte(mark), &m); err != nil {
		return false, fmt.Errorf("mark of a film: %w", err)
	}
	sum, err := f.sum(m.Size)
	if errors.Is(err, io.ErrUnexpectedEOF) { // it is shorter now
		return false, nil
	}
	return sum == m.Sum, err
}

// sum is that of the first and the last bytes of the file when it was so large. [io.ErrUnexpectedEOF] is returned when it is smaller.
func (f *FilmFile) sum(size int64) (string, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	for _, from := range []int64{0, max(0, size-marked)} {
		want := min(size, marked)
		n, err := io.Copy(hash, io.NewSectionReader(file, from, want))
		if err == nil && n < want {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return "", err
		}
	}
	return base64.RawURLEncoding.EncodeToString(hash.Sum(nil)), nil
}
