package source

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestFramesLimit(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		var data bytes.Buffer
		if err := jpeg.Encode(&data, image.NewGray(image.Rect(0, 0, 16, 16)), nil); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.jpg", i)), data.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		uri         string
		limit, skip uint64
		frames      uint64
		left        int
	}{
		"no limit":             {uri: dir, frames: 3, left: 3},
		"fewer than there are": {uri: dir, limit: 2, frames: 2, left: 2},
		"more than there are":  {uri: dir, limit: 9, frames: 3, left: 3},
		"some passed over":     {uri: dir, limit: 2, skip: 1, frames: 2, left: 1},
		"all passed over":      {uri: dir, limit: 2, skip: 5, frames: 2, left: 0},
		"of what has no end":   {uri: "street:?size=64x64", limit: 4, frames: 4, left: 4},
	} {
		t.Run(name, func(t *testing.T) {
			spec, err := parseSource(test.uri, Settings{Quality: 90})
			if err != nil {
				t.Fatal(err)
			}
			s, info, err := Open(t.Context(), spec, Options{Frames: test.limit, Unpaced: true})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if info.Frames != test.frames {
				t.Errorf("%d frames, want %d", info.Frames, test.frames)
			}
			if err := s.Skip(t.Context(), test.skip); err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, err = s.Next(t.Context()); err == nil; _, err = s.Next(t.Context()) {
				n++
			}
			if !errors.Is(err, io.EOF) || n != test.left {
				t.Errorf("%d pictures, then %v; want %d", n, err, test.left)
			}
		})
	}
}
