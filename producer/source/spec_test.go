package source

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/producer/street"
)

func TestNames(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("day.1", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a=b.avi", "clip.avi", "0", "7", "lossless", "live"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := strings.Repeat("x", 80)
	for _, test := range []struct {
		args, names []string
		err         error
	}{
		{args: []string{"/v/walk.avi"}, names: []string{"walk"}},
		{args: []string{"file:///v/my%20walk.avi"}, names: []string{"my-walk"}},
		{args: []string{"/v/Gärten (2).mp4"}, names: []string{"G-rten--2-"}},
		{args: []string{"/v/a.tar.gz"}, names: []string{"a-tar"}},
		{args: []string{"day.1"}, names: []string{"day-1"}},
		{args: []string{"/v/.mp4"}, names: []string{"-mp4"}},
		{args: []string{"/"}, names: []string{"-"}},
		{args: []string{"0"}, names: []string{"0"}},
		{args: []string{"/" + long + ".avi", "/w/" + long + ".avi"}, names: []string{long[:64], long[:62] + "-2"}},
		{args: []string{"/a/w.avi", "/b/w.avi", "/c/w.mp4"}, names: []string{"w", "w-2", "w-3"}},
		{args: []string{"/a/w.avi", "w=/b/v.avi"}, names: []string{"w-2", "w"}},
		{args: []string{"door=/a/w.avi", "yard=/a/w.avi"}, names: []string{"door", "yard"}},
		{args: []string{"a=b.avi"}, names: []string{"a-b"}},
		{args: []string{"x=a=b.avi"}, names: []string{"x"}},
		{args: []string{"a b=clip.avi"}, err: flow.ErrName},
		{args: []string{"=clip.avi"}, err: ErrName},
		{args: []string{long + "=clip.avi"}, err: ErrName},
		{args: []string{"w=a.avi", "w=b.avi"}, err: ErrName},
		{args: []string{""}, err: ErrConfig},
		{args: []string{"w="}, err: ErrConfig},
		{args: []string{"file://host/v.avi"}, err: ErrConfig},
		{args: []string{"rtsp://u:secret@h/s?a=b"}, names: []string{"s"}},
		{args: []string{"rtsp://10.0.0.7", "RTSP://h:554/live/ch1"}, names: []string{"10-0-0-7", "ch1"}},
		{args: []string{"cam=https://u:secret@h/s?token=secret"}, names: []string{"cam"}},
		{args: []string{"rtmp://u:secret@h/s?a=b"}, err: ErrUnsupported},
		{args: []string{"rtsp://u:se/secret@h/s"}, names: []string{"s"}},
		{args: []string{"rtsp://u:secret#x=1@h/s#fps=10"}, names: []string{"s"}},
		{args: []string{"rtsp://u:secret?x@h/s"}, names: []string{"s"}},
		{args: []string{"rtsp://10.0.0.1/user:secret@x"}, names: []string{"x"}},
		{args: []string{"back yard=rtsp://u:secret@h/s"}, err: flow.ErrName},
		{args: []string{"rtsp//u:secret@h/s"}, err: ErrUnsupported},
		{args: []string{"rtsp:/u:secret@h/s"}, err: ErrUnsupported},
		{args: []string{"rtsp:/u:secret#x=secret@h/s"}, err: ErrUnsupported},
		{args: []string{"rtsp:/u:secret=://x@h/s"}, err: ErrName},
		{args: []string{"rtsp://u:secret/s"}, err: ErrConfig},
		{args: []string{"rtsp://u:${NO_SUCH_secret}@h/s#x=1"}, err: ErrConfig},
		{args: []string{"rtsp://h/s#fps=10&max_side=640", "yard=clip.avi#mode=live&loop=true"}, names: []string{"s", "yard"}},
		{args: []string{"rtsp://h/s#mode=lossless"}, err: ErrConfig},
		{args: []string{"rtsp://h/s#mode=live"}, names: []string{"s"}},
		{args: []string{"clip.avi#mode=fast"}, err: ErrConfig},
		{args: []string{"clip.avi#fps=many"}, err: ErrConfig},
		{args: []string{"clip.avi#speed=2"}, err: ErrConfig},
		{args: []string{"street:"}, names: []string{"street"}},
		{args: []string{"street:?seed=7&fps=12.5", "street:", "bay=street:?size=64x64&split=held-out"}, names: []string{"street", "street-2", "bay"}},
		{args: []string{"street:?n=4"}, err: ErrConfig},
		{args: []string{"street:?n=4"}, err: street.ErrParameter},
		{args: []string{"bay=street:?fps=0"}, err: street.ErrParameter},
		{args: []string{"street://host/?seed=1"}, err: street.ErrParameter},
		{args: []string{"1", "/dev/video3"}, names: []string{"camera", "camera-2"}},
	} {
		specs, err := Parse(test.args, Settings{Quality: 90})
		if !errors.Is(err, test.err) {
			t.Errorf("%q: %v, want %v", test.args, err, test.err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: a secret is told: %v", test.args, err)
		}
		var names []string
		for _, s := range specs {
			if strings.Contains(s.Name+s.URI, "secret") {
				t.Errorf("%q: a secret is in the name %q or in %q", test.args, s.Name, s.URI)
			}
			names = append(names, s.Name)
		}
		if diff := cmp.Diff(test.names, names); diff != "" {
			t.Errorf("%q: %s", test.args, diff)
		}
	}
}

func FuzzSources(f *testing.F) {
	for _, seed := range []string{"a.avi", "n=a.avi", "file:///a%41", "rtsp://u:p@h/?q", "=", "n==", "/", ".", "//@", "://", "street:?seed=7", "s=street:?fps=x"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		specs, err := Parse([]string{a, b}, Settings{Quality: 90})
		if err != nil {
			return
		}
		if specs[0].Name == specs[1].Name {
			t.Errorf("%q and %q are both called %q", a, b, specs[0].Name)
		}
		for _, s := range specs {
			if err := flow.ValidToken("source", s.Name); err != nil {
				t.Error(err)
			}
			if len(s.URI) > 256 {
				t.Errorf("URI of %d bytes", len(s.URI))
			}
		}
	})
}

func TestNaturalOrder(t *testing.T) {
	dir := t.TempDir()
	want := []string{"a.JPG", "img02.png", "img2.png", "img10.jpeg", "img10b.webp", "img123456789012345678901.bmp"}
	for _, name := range append([]string{"note.txt", ".jpg.swp"}, want...) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "sub.jpg"), 0o700); err != nil {
		t.Fatal(err)
	}
	s, info, err := openFolder(dir, Settings{Quality: 90})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var got []string
	for _, path := range s.(*pictures).paths {
		got = append(got, filepath.Base(path))
	}
	if diff := cmp.Diff(want, got); diff != "" || info.Frames != uint64(len(want)) {
		t.Errorf("%d pictures: %s", info.Frames, diff)
	}
}
