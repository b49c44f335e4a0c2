package source

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/gif"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A folder as people have it: from a Mac's stick, a Windows zip, a NAS.
func TestFolderOfAllSorts(t *testing.T) {
	t.Parallel()
	dir, plain := t.TempDir(), halves(t, 64, 32)
	var still bytes.Buffer
	if err := gif.Encode(&still, image.NewGray(image.Rect(0, 0, 64, 32)), nil); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"p10.jpg": plain, "p9.jpg": plain, "with space #1=2?.jpg": plain, "100%d %s.jpg": plain, "日本 ñ.JPG": plain, "new\nline.jpg": plain, "caf\xe9.jpg": plain,
		"phone.jfif": plain, "still.gif": still.Bytes(), "no extension": plain, "bro\xe9ken.jpg": []byte("broken"), "disguised.jpg": []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"),
		"._p9.jpg": []byte("\x00\x05\x16\x07"), ".DS_Store": nil,
		"IMG_1.HEIC": nil, "IMG_2.heic": nil, "IMG_3.avif": nil, "Thumbs.db": nil, "notes.txt": []byte("BM, a note"), "raw": []byte("8BPS"), "film.mp4": []byte("\x00\x00\x00\x18ftypisom\x00\x00\x00\x00mp41isom"),
	} {
		write(t, filepath.Join(dir, name), data)
	}
	if err := errors.Join(os.Symlink("p9.jpg", filepath.Join(dir, "link.jpg")), os.Symlink("loop.jpg", filepath.Join(dir, "loop.jpg")), os.Symlink("nowhere", filepath.Join(dir, "dangling.png")),
		os.Mkdir(filepath.Join(dir, "dir.jpg"), 0o700), os.Mkdir(filepath.Join(dir, ".git"), 0o700), syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	spec, err := parseSource(dir, Settings{Quality: 90})
	if err != nil {
		t.Fatal(err)
	}
	s, info, err := Open(t.Context(), spec, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if want := "8 files passed over: 4 no pictures, 2 .heic, 1 .avif, 1 unsupported; 1 sub-folder not entered"; info.Note() != want {
		t.Errorf("%q, want %q", info.Note(), want)
	}
	var good, broken []string
	for p, err := s.Next(t.Context()); ; p, err = s.Next(t.Context()) {
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if p.Finish(); p.Broken == "" {
			good = append(good, p.File)
			continue
		}
		broken = append(broken, p.File)
		if !strings.HasPrefix(p.Broken, p.File+": ") {
			t.Errorf("%q does not say which file it is: %s", p.File, p.Broken)
		}
		if p.File == "disguised.jpg" && !strings.Contains(p.Broken, "HEIC: convert it to JPEG") {
			t.Error(p.Broken)
		}
	}
	if diff := cmp.Diff([]string{"100%d %s.jpg", "caf%E9.jpg", "link.jpg", "new\nline.jpg", "no extension", "p9.jpg", "p10.jpg", "phone.jfif", "still.gif", "with space #1=2?.jpg", "日本 ñ.JPG"}, good); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"bro%E9ken.jpg", "dangling.png", "disguised.jpg", "loop.jpg"}, broken); diff != "" {
		t.Error(diff)
	}
	if info.Frames != uint64(len(good)+len(broken)) {
		t.Errorf("said to have %d pictures", info.Frames)
	}
}

func TestFolderWithoutPictures(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.heic"), nil)
	spec, err := parseSource(dir, Settings{Quality: 90})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(t.Context(), spec, Options{}); !errors.Is(err, ErrNoPictures) || !strings.Contains(err.Error(), "1 file passed over: 1 .heic") {
		t.Error(err)
	}
	if _, _, err := openWhole(t.Context(), Spec{path: filepath.Join(dir, "a.heic")}, Options{}); !errors.Is(err, ErrOpen) {
		t.Error(err)
	}
	for name, says := range map[string]string{"disguised": "HEIC: convert it to JPEG", "x.heic": "HEIC: convert it to JPEG"} {
		path := filepath.Join(dir, name)
		write(t, path, []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"))
		if _, _, err := openWhole(t.Context(), Spec{path: path}, Options{}); !errors.Is(err, ErrOpen) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A watched folder may be empty, and ends when it is told to.
func TestWatchedFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	spec, err := parseSource(dir+"#watch=true", Settings{Quality: 90})
	if err != nil {
		t.Fatal(err)
	}
	s, info, err := Open(t.Context(), spec, Options{})
	if err != nil || info.Frames != 0 {
		t.Fatal(info, err)
	}
	defer s.Close()
	write(t, filepath.Join(dir, "a.jpg"), halves(t, 64, 32))
	if p, err := s.Next(t.Context()); err != nil || p.File != "a.jpg" || p.Broken != "" {
		t.Errorf("%+v, %v", p, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, not := range []string{filepath.Join(dir, "a.jpg") + "#watch=true", "street:?seed=1#watch=true", dir + "/gone#watch=true", dir + "#watch=perhaps"} {
		if _, err := parseSource(not, Settings{Quality: 90}); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", not, err)
		}
	}
}
